import { Link } from 'react-router';
import { Screen } from '../parts/screen';
import { Empty } from '../parts/states';

export function NotFound() {
  return (
    <Screen title="Not found">
      <Empty title="There is no such page" actions={<Link to="/">Overview</Link>} />
    </Screen>
  );
}
