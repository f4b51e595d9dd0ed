/** Filters that live in the address, so that a view can be kept and sent. */

import { Button, FormSelect, FormSelectOption, SearchInput, TextInput } from '@patternfly/react-core';
import { useCallback, useEffect, useRef, useState, type ReactNode } from 'react';
import { useSearchParams } from 'react-router';
import { SEARCH_ID } from './keys';

export function useFilters() {
  const [params, setParams] = useSearchParams();
  const set = useCallback(
    (changes: Record<string, string | undefined>) => {
      setParams(
        (old) => {
          const next = new URLSearchParams(old);
          for (const [name, value] of Object.entries(changes)) {
            if (value) next.set(name, value);
            else next.delete(name);
          }
          return next;
        },
        { replace: true },
      );
    },
    [setParams],
  );
  const get = useCallback((name: string) => params.get(name) ?? '', [params]);
  return { get, set, params };
}

type SelectProps = {
  label: string;
  value: string;
  onChange: (value: string) => void;
  options: readonly (string | { value: string; label: string })[];
};

/** A choice of one; the first option is no filter. A single option is no choice and is not shown. */
export function FilterSelect({ label, value, onChange, options }: SelectProps) {
  if (options.length < 2 && !value) return null;
  const known = options.some((option) => (typeof option === 'string' ? option : option.value) === value);
  return (
    <FormSelect aria-label={label} value={value} onChange={(_, next) => onChange(next)} className={value ? 'occm-filter occm-filter--set' : 'occm-filter'}>
      <FormSelectOption value="" label={`${label}: any`} />
      {value && !known && <FormSelectOption value={value} label={value} />}
      {options.map((option) => {
        const { value: each, label: name } = typeof option === 'string' ? { value: option, label: option } : option;
        return <FormSelectOption key={each} value={each} label={name} />;
      })}
    </FormSelect>
  );
}

const TYPING_MS = 250;

/** Text that is applied a moment after the last key. */
function useTyped(value: string, onChange: (value: string) => void) {
  const [text, setText] = useState(value);
  const applied = useRef(value);
  useEffect(() => {
    if (value !== applied.current) {
      applied.current = value;
      setText(value);
    }
  }, [value]);
  useEffect(() => {
    if (text === applied.current) return;
    const timer = setTimeout(() => {
      applied.current = text;
      onChange(text);
    }, TYPING_MS);
    return () => clearTimeout(timer);
  }, [text, onChange]);
  return [text, setText] as const;
}

type TextProps = { value: string; onChange: (value: string) => void; label: string };

/** Search text. `/` goes here. */
export function FilterSearch({ value, onChange, label }: TextProps) {
  const [text, setText] = useTyped(value, onChange);
  return (
    <SearchInput
      searchInputId={SEARCH_ID}
      aria-label={label}
      placeholder={label}
      value={text}
      onChange={(_, next) => setText(next)}
      onClear={() => setText('')}
      className="occm-search"
    />
  );
}

export function FilterText({ value, onChange, label }: TextProps) {
  const [text, setText] = useTyped(value, onChange);
  return (
    <span className="occm-filter-text">
      <TextInput aria-label={label} placeholder={label} value={text} onChange={(_, next) => setText(next)} />
    </span>
  );
}

export function ClearFilters({ shown, onClear }: { shown: boolean; onClear: () => void }) {
  return shown ? (
    <Button variant="link" isInline onClick={onClear}>
      Clear filters
    </Button>
  ) : null;
}

/** The row above a table: filters on the left, `beside` on the right. */
export function FilterBar({ children, beside }: { children: ReactNode; beside?: ReactNode }) {
  return (
    <div className="occm-filters" role="search" aria-label="Filters">
      {children}
      <span className="occm-right occm-muted" role="status">
        {beside}
      </span>
    </div>
  );
}
