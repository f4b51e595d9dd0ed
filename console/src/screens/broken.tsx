/** What is shown instead of a screen that broke: the rest of the console goes on. */

import { Button } from '@patternfly/react-core';
import { useRouteError } from 'react-router';
import { Screen } from '../parts/screen';
import { ProblemAlert } from '../parts/states';

export function Broken() {
  const error = useRouteError();
  return (
    <Screen title="This screen broke">
      <div className="occm-stack">
        <ProblemAlert error={error} title="A fault of the console" />
        <div>
          <Button variant="secondary" onClick={() => location.reload()}>
            Load it again
          </Button>
        </div>
      </div>
    </Screen>
  );
}
