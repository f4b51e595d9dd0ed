/** The frame of "new" and "edit": steps with a form, the same as YAML, and a review with the server's verdict. */

import { Alert, Button, Form, TextArea, ToggleGroup, ToggleGroupItem, Wizard, WizardFooterWrapper, WizardStep, useWizardContext } from '@patternfly/react-core';
import { useMutation } from '@tanstack/react-query';
import { useMemo, useState, type ReactNode } from 'react';
import { useNavigate, useSearchParams } from 'react-router';
import { parse } from 'yaml';
import { call, objectPath, type Request } from '../api/client';
import { queryClient } from '../api/queries';
import { toYaml } from './code';
import { FormContext, useDryRun, type Verdict } from './form';
import { getAt, setAt, under, type Tree } from './tree';
import { CodeTabs } from './operation';
import { Screen } from './screen';
import { FieldProblems, ProblemAlert } from './states';
import { toast } from './toasts';

export type Step = { id: string; title: string; content: ReactNode; /** Fields that it shows. */ paths: string[] };

type Props = {
  kind: 'certificates' | 'issuers';
  word: string;
  start: Tree;
  /** Version of the object that is edited; none for a new one. */
  version?: string | undefined;
  steps: Step[];
  /** Sent before the object, for example a Secret that was typed in. */
  before?: () => Promise<void>;
};

/** Not the id of a field. */
const stepId = (id: string) => `step-${id}`;
const REVIEW = stepId('review');

export function Editor({ kind, word, start, version, steps, before }: Props) {
  const [object, setObject] = useState(start);
  const [touched, setTouched] = useState<ReadonlySet<string>>(new Set());
  const [search, setSearch] = useSearchParams();
  const navigate = useNavigate();
  const asYaml = search.get('as') === 'yaml';
  const isNew = version === undefined;
  const namespace = String(getAt(object, 'metadata.namespace') ?? '');
  const name = String(getAt(object, 'metadata.name') ?? '');
  const request = useMemo(
    (): Request => (isNew ? { method: 'POST', path: `/${kind}`, body: object } : { method: 'PUT', path: objectPath(kind, namespace, name), body: object, version }),
    [isNew, kind, object, namespace, name, version],
  );
  const verdict = useDryRun(request);
  const save = useMutation({
    mutationFn: async () => {
      await before?.();
      return call(request);
    },
    onSuccess: () => {
      toast(`${word} ${name} is ${isNew ? 'created' : 'changed'}`);
      void queryClient.invalidateQueries({ queryKey: [kind] });
      void queryClient.invalidateQueries({ queryKey: [kind.slice(0, -1), namespace, name] });
      void navigate(`/${kind}/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`);
    },
  });
  const form = {
    object,
    set: (path: string, value: unknown) => setObject((old) => setAt(old, path, value)),
    errors: verdict.errors,
    touched,
    touch: (path: string) => setTouched((old) => (old.has(path) ? old : new Set([...old, path]))),
  };
  const leave = () => void navigate(isNew ? `/${kind}` : `/${kind}/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`);
  const back = isNew ? { title: `${word}s`, to: `/${kind}` } : { title: name, to: `/${kind}/${namespace}/${name}` };
  const review = <Review verdict={verdict} request={request} object={object} error={save.error} word={word} />;
  const buttons = { verb: isNew ? 'Create' : 'Save', onSave: () => save.mutate(), busy: save.isPending, good: verdict.good && !verdict.pending, onCancel: leave };
  return (
    <Screen
      title={isNew ? `New ${word}` : `Edit ${name}`}
      trail={[back]}
      filled
      actions={
        <ToggleGroup aria-label="Way of editing">
          <ToggleGroupItem text="Form" isSelected={!asYaml} onChange={() => setSearch({}, { replace: true })} />
          <ToggleGroupItem text="YAML" isSelected={asYaml} onChange={() => setSearch({ as: 'yaml' }, { replace: true })} />
        </ToggleGroup>
      }
    >
      <FormContext value={form}>
        {asYaml ? (
          <YamlEditor object={object} onChange={setObject} verdict={verdict} error={save.error} {...buttons} />
        ) : (
          <Steps steps={steps} review={review} onVisit={(step) => setTouched((old) => new Set([...old, ...step.paths]))} verdict={verdict} touched={touched} {...buttons} />
        )}
      </FormContext>
    </Screen>
  );
}

type Buttons = { verb: string; onSave: () => void; busy: boolean; good: boolean; onCancel: () => void };

function Steps(props: Buttons & { steps: Step[]; review: ReactNode; onVisit: (step: Step) => void; verdict: Verdict; touched: ReadonlySet<string> }) {
  const { steps, onVisit, verdict, touched } = props;
  const wrong = (step: Step) => step.paths.some((path) => touched.has(path) && verdict.errors.some((error) => under(error.field, path)));
  const left = (id: string | number | undefined) => {
    // Going to the review is looking at everything.
    if (id === REVIEW) for (const each of steps) onVisit(each);
  };
  return (
    <Wizard
      className="occm-wizard"
      navAriaLabel="Steps"
      onClose={props.onCancel}
      onStepChange={(_, current, previous) => {
        const step = steps.find((each) => stepId(each.id) === previous?.id);
        if (step) onVisit(step);
        left(current.id);
      }}
      footer={<Footer {...props} />}
    >
      {steps.map((step) => (
        <WizardStep key={step.id} id={stepId(step.id)} name={step.title} {...(wrong(step) ? { status: 'error' as const } : {})}>
          <Form className="occm-form" onSubmit={(event) => event.preventDefault()}>
            {step.content}
          </Form>
        </WizardStep>
      ))}
      <WizardStep id={REVIEW} name="Review">
        {props.review}
      </WizardStep>
    </Wizard>
  );
}

function Footer({ verb, onSave, busy, good, onCancel }: Buttons) {
  const { activeStep, goToNextStep, goToPrevStep } = useWizardContext();
  const isLast = activeStep.id === REVIEW;
  return (
    <WizardFooterWrapper>
      <div className="occm-buttons">
        <Button variant="secondary" isDisabled={activeStep.index === 1} onClick={() => void goToPrevStep()}>
          Back
        </Button>
        {isLast ? (
          <Button variant="primary" isDisabled={!good || busy} isLoading={busy} onClick={onSave}>
            {verb}
          </Button>
        ) : (
          <Button variant="primary" onClick={() => void goToNextStep()}>
            Next
          </Button>
        )}
        <Button variant="link" onClick={onCancel}>
          Cancel
        </Button>
      </div>
    </WizardFooterWrapper>
  );
}

function Judged({ verdict, word }: { verdict: Verdict; word: string }) {
  if (verdict.good) return <Alert isInline variant="success" title={`Dry run: the server takes this ${word}`} />;
  if (verdict.pending) return <Alert isInline variant="info" title="Dry run: the server looks at it…" />;
  if (verdict.errors.length > 0) {
    return (
      <Alert isInline variant="danger" title={verdict.errors.length === 1 ? 'Dry run: one field is wrong' : `Dry run: ${verdict.errors.length} fields are wrong`}>
        <FieldProblems errors={verdict.errors} />
      </Alert>
    );
  }
  return <ProblemAlert error={verdict.error} title="Dry run: refused" />;
}

function Review({ verdict, request, object, error, word }: { verdict: Verdict; request: Request; object: Tree; error: unknown; word: string }) {
  return (
    <div className="occm-stack">
      <Judged verdict={verdict} word={word} />
      <ProblemAlert error={error} title="Not saved" />
      <CodeTabs yaml={[object]} requests={[request]} />
    </div>
  );
}

function YamlEditor(props: Buttons & { object: Tree; onChange: (object: Tree) => void; verdict: Verdict; error: unknown }) {
  const [text, setText] = useState(() => toYaml(props.object));
  const [broken, setBroken] = useState<string | undefined>();
  const change = (next: string) => {
    setText(next);
    try {
      const value: unknown = parse(next);
      if (!value || typeof value !== 'object' || Array.isArray(value)) throw new Error('an object is expected');
      setBroken(undefined);
      props.onChange(value as Tree);
    } catch (error) {
      setBroken(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <div className="occm-yaml">
      <TextArea aria-label="YAML" value={text} onChange={(_, next) => change(next)} className="occm-yaml__text" spellCheck={false} validated={broken ? 'error' : 'default'} />
      <div className="occm-stack">
        {broken ? <Alert isInline variant="danger" title="This is no YAML"><pre className="occm-pre">{broken}</pre></Alert> : <Judged verdict={props.verdict} word="object" />}
        <ProblemAlert error={props.error} title="Not saved" />
        <div className="occm-buttons">
          <Button variant="primary" isDisabled={!props.good || Boolean(broken) || props.busy} isLoading={props.busy} onClick={props.onSave}>
            {props.verb}
          </Button>
          <Button variant="link" onClick={props.onCancel}>
            Cancel
          </Button>
        </div>
      </div>
    </div>
  );
}
