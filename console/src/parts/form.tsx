/**
 * Forms that edit an object as it is sent: each field knows its path, and the server's dry run says what is wrong
 * with it, by that path. What a form does not show stays as it is.
 */

import { Checkbox, FormGroup, FormHelperText, FormSelect, FormSelectOption, HelperText, HelperTextItem, TextArea, TextInput } from '@patternfly/react-core';
import { createContext, useContext, useEffect, useId, useRef, useState, type ReactNode } from 'react';
import { ApiError, call, type Request } from '../api/client';
import type { FieldProblem } from '../api/types';
import { getAt, under, type Tree } from './tree';

type FormState = {
  object: Tree;
  set: (path: string, value: unknown) => void;
  errors: FieldProblem[];
  touched: ReadonlySet<string>;
  touch: (path: string) => void;
};

export const FormContext = createContext<FormState | undefined>(undefined);

export function useForm(): FormState {
  const form = useContext(FormContext);
  if (!form) throw new Error('no form here');
  return form;
}

type FieldProps = { path: string; label: string; help?: ReactNode; required?: boolean };

function useField(path: string) {
  const { object, set, errors, touched, touch } = useForm();
  const id = useId();
  const mine = touched.has(path) ? errors.filter((error) => under(error.field, path)) : [];
  return { id, value: getAt(object, path), set: (value: unknown) => set(path, value), touch: () => touch(path), errors: mine };
}

/** What is wrong, else what it means. */
function Below({ id, errors, help, path }: { id: string; errors: FieldProblem[]; help: ReactNode; path: string }) {
  if (errors.length === 0 && !help) return null;
  return (
    <FormHelperText>
      <HelperText id={`${id}-help`} isLiveRegion>
        {errors.map((error) => (
          <HelperTextItem key={`${error.field} ${error.problem}`} variant="error">
            {error.field !== path && <code>{error.field.slice(path.length).replace(/^\./, '')} </code>}
            {error.problem}
            {error.allowed && `; allowed: ${error.allowed}`}
          </HelperTextItem>
        ))}
        {errors.length === 0 && <HelperTextItem>{help}</HelperTextItem>}
      </HelperText>
    </FormHelperText>
  );
}

const described = (id: string) => `${id}-help`;
const verdict = (errors: FieldProblem[]) => (errors.length > 0 ? ('error' as const) : ('default' as const));

export function TextField(props: FieldProps & { disabled?: boolean; placeholder?: string; number?: boolean }) {
  const { id, value, set, touch, errors } = useField(props.path);
  const change = (text: string) => set(props.number && /^\d+$/.test(text) ? Number(text) : text);
  return (
    <FormGroup label={props.label} fieldId={id} isRequired={props.required ?? false}>
      <TextInput id={id} value={value === undefined ? '' : String(value)} isDisabled={props.disabled ?? false} placeholder={props.placeholder ?? ''} validated={verdict(errors)} aria-describedby={described(id)} autoComplete="off" spellCheck={false} onChange={(_, text) => change(text)} onBlur={touch} />
      <Below id={id} errors={errors} help={props.help} path={props.path} />
    </FormGroup>
  );
}

export type Option = { value: string; label: string };

export function SelectField(props: FieldProps & { options: readonly Option[]; disabled?: boolean; number?: boolean; fallback?: string; onPick?: (value: string) => void }) {
  const { id, value, set, touch, errors } = useField(props.path);
  const pick = (text: string) => {
    set(props.number && text ? Number(text) : text);
    props.onPick?.(text);
    touch();
  };
  const shown = value === undefined ? (props.fallback ?? '') : String(value);
  const known = props.options.some((option) => option.value === shown);
  return (
    <FormGroup label={props.label} fieldId={id} isRequired={props.required ?? false}>
      <FormSelect id={id} value={shown} isDisabled={props.disabled ?? false} validated={verdict(errors)} aria-describedby={described(id)} onChange={(_, text) => pick(text)} onBlur={touch}>
        {!known && <FormSelectOption value={shown} label={shown || 'Choose'} isPlaceholder={!shown} />}
        {props.options.map((option) => (
          <FormSelectOption key={option.value} value={option.value} label={option.label} />
        ))}
      </FormSelect>
      <Below id={id} errors={errors} help={props.help} path={props.path} />
    </FormGroup>
  );
}

/** Several texts, one a line. */
export function LinesField(props: FieldProps & { placeholder?: string; rows?: number }) {
  const { id, value, set, touch, errors } = useField(props.path);
  const lines = Array.isArray(value) ? (value as string[]) : [];
  const [text, setText] = useState(lines.join('\n'));
  const own = useRef(lines.join('\n'));
  useEffect(() => {
    const now = lines.join('\n');
    if (now !== own.current) {
      own.current = now;
      setText(now);
    }
  }, [lines]);
  const change = (next: string) => {
    setText(next);
    const list = next.split(/[\n,;]+/).map((line) => line.trim()).filter(Boolean);
    own.current = list.join('\n');
    set(list);
  };
  return (
    <FormGroup label={props.label} fieldId={id} isRequired={props.required ?? false}>
      <TextArea id={id} value={text} rows={props.rows ?? 3} resizeOrientation="vertical" placeholder={props.placeholder ?? ''} validated={verdict(errors)} aria-describedby={described(id)} spellCheck={false} onChange={(_, next) => change(next)} onBlur={touch} />
      <Below id={id} errors={errors} help={props.help ?? 'One a line.'} path={props.path} />
    </FormGroup>
  );
}

/** Any number of the given texts. */
export function ChoicesField(props: FieldProps & { options: readonly string[] }) {
  const { id, value, set, touch, errors } = useField(props.path);
  const chosen = Array.isArray(value) ? (value as string[]) : [];
  const all = [...props.options, ...chosen.filter((each) => !props.options.includes(each))];
  return (
    <FormGroup label={props.label} role="group" fieldId={id}>
      <div className="occm-choices">
        {all.map((option) => (
          <Checkbox
            key={option}
            id={`${id}-${option}`}
            label={option}
            isChecked={chosen.includes(option)}
            onChange={(_, on) => {
              set(on ? [...chosen, option] : chosen.filter((each) => each !== option));
              touch();
            }}
          />
        ))}
      </div>
      <Below id={id} errors={errors} help={props.help} path={props.path} />
    </FormGroup>
  );
}

export type Verdict = { pending: boolean; good: boolean; errors: FieldProblem[]; error: unknown };

const DRY_RUN_MS = 350;

/** Asks the server what it thinks of the object, a moment after the last change. */
export function useDryRun(request: Request | undefined): Verdict {
  const [result, setResult] = useState<Verdict>({ pending: true, good: false, errors: [], error: undefined });
  const text = JSON.stringify(request);
  useEffect(() => {
    if (text === undefined) return;
    const asked = JSON.parse(text) as Request;
    const stop = new AbortController();
    setResult((old) => ({ ...old, pending: true }));
    const timer = setTimeout(() => {
      call({ ...asked, query: { ...asked.query, dryRun: true } }, stop.signal).then(
        () => setResult({ pending: false, good: true, errors: [], error: undefined }),
        (error: unknown) => {
          if (stop.signal.aborted) return;
          const errors = error instanceof ApiError ? (error.problem.errors ?? []) : [];
          setResult({ pending: false, good: false, errors, error });
        },
      );
    }, DRY_RUN_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [text]);
  return result;
}
