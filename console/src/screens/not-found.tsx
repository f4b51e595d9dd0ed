import { Link } from 'react-router';
import { Screen } from '../shared/screen';
import { Empty } from '../shared/states';

export function NotFound() {
  return (
    <Screen title="Not found">
      <Empty title="There is no such page" actions={<Link to="/">Overview</Link>} />
    </Screen>
  );
}
