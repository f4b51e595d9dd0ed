/**
 * One way to do things: a dialog that says what will happen, shows it "as YAML" and "as curl", does it for one object
 * or for many, and lists what failed.
 */

import {
  Button,
  ExpandableSection,
  Form,
  FormGroup,
  Modal,
  ModalBody,
  ModalFooter,
  ModalHeader,
  Progress,
  Tab,
  Tabs,
  TabTitleText,
  TextInput,
} from '@patternfly/react-core';
import { useId, useState, type ReactNode } from 'react';
import { ApiError, send, type Request } from '../api/client';
import { Code, toYaml } from './code';
import { toCurl } from './curl';
import { ProblemAlert } from './states';
import { toast } from './toasts';

export type Operation = {
  title: string;
  /** On the button. */
  verb: string;
  /** Said when all is done. */
  done: string;
  about: ReactNode;
  danger?: boolean;
  /** Must be typed before it can be done. */
  typed?: string;
  /** One for each object; `label` names it in the list of failures. */
  steps: { label: string; request: Request }[];
  /** The same as objects. */
  yaml: unknown[];
  /** Whether a request is sent again when its object was changed meanwhile. */
  again?: boolean;
  /** Further choices; the caller makes new steps of them. */
  extra?: ReactNode;
};

const AT_ONCE = 4;
const SHOWN_AS_CODE = 20;

export function OperationDialog(props: { operation: Operation; onClose: () => void; onDone?: () => void }) {
  const { operation, onClose, onDone } = props;
  const [typed, setTyped] = useState('');
  const [running, setRunning] = useState<{ done: number } | undefined>();
  const [failures, setFailures] = useState<{ label: string; error: unknown }[]>([]);
  const id = useId();
  const many = operation.steps.length > 1;
  const run = async () => {
    setFailures([]);
    setRunning({ done: 0 });
    const failed = await runAll(operation, (done) => setRunning({ done }));
    setRunning(undefined);
    setFailures(failed);
    if (failed.length < operation.steps.length) onDone?.();
    if (failed.length === 0) {
      toast(operation.done);
      onClose();
    }
  };
  return (
    <Modal isOpen onClose={onClose} variant="medium" aria-labelledby={`${id}-title`} aria-describedby={`${id}-body`}>
      <ModalHeader title={operation.title} labelId={`${id}-title`} {...(operation.danger ? { titleIconVariant: 'warning' as const } : {})} />
      <ModalBody id={`${id}-body`} className="occm-stack">
        <div>{operation.about}</div>
        {operation.extra}
        {operation.typed && (
          <Form onSubmit={(event) => event.preventDefault()}>
            <FormGroup label={`Type ${operation.typed} to go on`} fieldId={`${id}-typed`}>
              <TextInput id={`${id}-typed`} value={typed} onChange={(_, text) => setTyped(text)} autoComplete="off" />
            </FormGroup>
          </Form>
        )}
        {running && many && (
          <Progress value={running.done} max={operation.steps.length} title="Progress" label={`${running.done} of ${operation.steps.length}`} valueText={`${running.done} of ${operation.steps.length}`} />
        )}
        <Failures failures={failures} many={many} />
        <AsCode operation={operation} />
      </ModalBody>
      <ModalFooter>
        <Button
          variant={operation.danger ? 'danger' : 'primary'}
          isLoading={running !== undefined}
          isDisabled={running !== undefined || operation.steps.length === 0 || (operation.typed !== undefined && typed !== operation.typed)}
          onClick={() => void run()}
        >
          {operation.verb}
        </Button>
        <Button variant="link" onClick={onClose}>
          Cancel
        </Button>
      </ModalFooter>
    </Modal>
  );
}

async function runAll(operation: Operation, onProgress: (done: number) => void) {
  const failed: { label: string; error: unknown }[] = [];
  const waiting = [...operation.steps];
  let done = 0;
  const worker = async () => {
    for (let step = waiting.shift(); step; step = waiting.shift()) {
      try {
        await send(step.request, operation.again ?? false);
      } catch (error) {
        failed.push({ label: step.label, error });
      }
      onProgress(++done);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return failed;
}

function Failures({ failures, many }: { failures: { label: string; error: unknown }[]; many: boolean }) {
  if (failures.length === 0) return null;
  if (!many) return <ProblemAlert error={failures[0]?.error} />;
  return (
    <div className="occm-stack" role="alert">
      <strong>{failures.length} failed; the others are done.</strong>
      <ul className="occm-failures">
        {failures.slice(0, 50).map(({ label, error }) => (
          <li key={label}>
            <code>{label}</code>: {error instanceof ApiError ? (error.problem.detail ?? error.problem.title) : String(error)}
          </li>
        ))}
      </ul>
    </div>
  );
}

function AsCode({ operation }: { operation: Operation }) {
  const [open, setOpen] = useState(false);
  return (
    <ExpandableSection toggleText={open ? 'Hide YAML and curl' : 'As YAML, as curl'} isExpanded={open} onToggle={(_, on) => setOpen(on)}>
      {open && <CodeTabs yaml={operation.yaml} requests={operation.steps.map((step) => step.request)} />}
    </ExpandableSection>
  );
}

export function CodeTabs({ yaml, requests }: { yaml: unknown[]; requests: Request[] }) {
  const [tab, setTab] = useState<string | number>('yaml');
  const more = requests.length > SHOWN_AS_CODE ? `# and ${requests.length - SHOWN_AS_CODE} more of the same kind\n` : '';
  const yamlText = yaml.slice(0, SHOWN_AS_CODE).map(toYaml).join('---\n') + more;
  const curl = requests.slice(0, SHOWN_AS_CODE).map((request) => toCurl(request, location.origin)).join('\n\n') + (more && `\n\n${more}`);
  return (
    <Tabs activeKey={tab} onSelect={(_, key) => setTab(key)} aria-label="The same as text" variant="default">
      <Tab eventKey="yaml" title={<TabTitleText>YAML</TabTitleText>}>
        <Code text={yamlText} label="YAML" file="occm.yaml" />
      </Tab>
      <Tab eventKey="curl" title={<TabTitleText>curl</TabTitleText>}>
        <Code text={curl} label="curl command" />
      </Tab>
    </Tabs>
  );
}

/** "As YAML, as curl" of what a screen shows. */
export function AsCodeButton({ title, yaml, requests }: { title: string; yaml: unknown[]; requests: Request[] }) {
  const [open, setOpen] = useState(false);
  const id = useId();
  return (
    <>
      <Button variant="secondary" onClick={() => setOpen(true)}>
        As code
      </Button>
      {open && (
        <Modal isOpen onClose={() => setOpen(false)} variant="medium" aria-labelledby={id}>
          <ModalHeader title={title} labelId={id} description="Every screen is a view of the public API." />
          <ModalBody>
            <CodeTabs yaml={yaml} requests={requests} />
          </ModalBody>
        </Modal>
      )}
    </>
  );
}
