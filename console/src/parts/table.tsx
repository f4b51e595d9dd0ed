/**
 * A table of any length: only the rows in sight are in the page. Rows are of one height, so nothing jumps; rows and
 * columns keep their places when data changes.
 */

import { Checkbox } from '@patternfly/react-core';
import { Table, Tbody, Td, Th, Thead, Tr, type ThProps } from '@patternfly/react-table';
import { useVirtualizer } from '@tanstack/react-virtual';
import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore, type ReactNode } from 'react';
import { useKeys } from './keys';

export type Column<Row> = {
  key: string;
  title: string;
  /** Width as in CSS; columns without one share what is left. */
  width?: string;
  cell: (row: Row) => ReactNode;
  /** Name of the order at the server; needs `onSort`. */
  sort?: string;
  /** What to sort by here, for tables that hold every row. */
  value?: (row: Row) => string | number | undefined;
  className?: string;
};

type Props<Row> = {
  label: string;
  columns: Column<Row>[];
  rows: Row[];
  rowKey: (row: Row) => string;
  /** How many there are; more than `rows` while not all are read. */
  total?: number;
  onMore?: () => void;
  /** Order at the server, `-` in front for descending. */
  sort?: string;
  onSort?: (sort: string) => void;
  selected?: ReadonlySet<string>;
  onSelect?: (selected: ReadonlySet<string>) => void;
  selectLabel?: (row: Row) => string;
  selectable?: (row: Row) => boolean;
  /** At the end of each row, for example a menu. */
  actions?: (row: Row) => ReactNode;
  /** Grows with its rows instead of scrolling: for a few rows among other things. */
  plain?: boolean;
  rowHeight?: number;
};

const ROW_HEIGHT = 54;
const OVERSCAN = 10;
const MORE_BEFORE_END = 60;

export function DataTable<Row>(props: Props<Row>) {
  const { columns, rowKey, selected, onSelect, onMore, total, plain } = props;
  const height = props.rowHeight ?? ROW_HEIGHT;
  const [order, setOrder] = useState<{ key: string; down: boolean } | undefined>();
  const rows = useMemo(() => sortHere(props.rows, columns, order), [props.rows, columns, order]);
  const scroll = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroll.current,
    estimateSize: () => height,
    overscan: OVERSCAN,
    enabled: !plain,
  });
  const items = plain ? rows.map((_, index) => ({ index })) : virtual.getVirtualItems();
  const first = items[0]?.index ?? 0;
  const last = items.at(-1)?.index ?? -1;
  const wantsMore = rows.length < (total ?? rows.length) && last > rows.length - MORE_BEFORE_END;
  useEffect(() => {
    if (wantsMore) onMore?.();
  }, [wantsMore, onMore, rows.length]);
  const anchor = useRef<number | undefined>(undefined);
  const active = useRowKeys(rows.length, scroll, plain ? undefined : (index) => virtual.scrollToIndex(index));

  const pick = useCallback(
    (index: number, on: boolean, range: boolean) => {
      if (!onSelect) return;
      const next = new Set(selected);
      const from = range && anchor.current !== undefined ? anchor.current : index;
      for (let at = Math.min(from, index); at <= Math.max(from, index); at++) {
        const row = rows[at];
        if (!row || props.selectable?.(row) === false) continue;
        if (on) next.add(rowKey(row));
        else next.delete(rowKey(row));
      }
      anchor.current = index;
      onSelect(next);
    },
    [onSelect, selected, rows, rowKey, props.selectable],
  );
  useKeys({
    x: () => {
      const row = rows[active.current];
      if (row && onSelect && !plain) pick(active.current, !selected?.has(rowKey(row)), false);
    },
  });
  const shift = useRef(false);
  const choosable = rows.filter((row) => props.selectable?.(row) !== false);
  const all = choosable.length > 0 && choosable.every((row) => selected?.has(rowKey(row)));
  const span = columns.length + (onSelect ? 1 : 0) + (props.actions ? 1 : 0);

  return (
    <div ref={scroll} className={plain ? 'occm-table' : 'occm-table occm-table--scroll'}>
      <Table aria-label={props.label} variant="compact" isStickyHeader={!plain} aria-rowcount={(total ?? rows.length) + 1} className="occm-grid">
        <colgroup>
          {onSelect && <col className="occm-col-select" />}
          {columns.map((column) => (
            <col key={column.key} className={column.className ?? ''} style={column.width ? { width: column.width } : {}} />
          ))}
          {props.actions && <col className="occm-col-actions" />}
        </colgroup>
        <Thead>
          <Tr aria-rowindex={1}>
            {onSelect && (
              <Th
                className="pf-v6-c-table__check occm-col-select"
                select={{
                  onSelect: (_, on) => onSelect(on ? new Set([...(selected ?? []), ...choosable.map(rowKey)]) : new Set()),
                  isSelected: all,
                }}
                aria-label="Select all rows"
              />
            )}
            {columns.map((column, index) => (
              <Th key={column.key} className={column.className ?? ''} {...sortable(props, column, index, order, setOrder)}>
                {column.title}
              </Th>
            ))}
            {props.actions && (
              <Th className="occm-col-actions">
                <span className="occm-hidden">Actions</span>
              </Th>
            )}
          </Tr>
        </Thead>
        <Tbody>
          {!plain && <Spacer height={first * height} span={span} />}
          {items.map(({ index }) => {
            const row = rows[index];
            if (row === undefined) return null;
            const key = rowKey(row);
            return (
              <Tr key={key} aria-rowindex={index + 2} data-row={index} isRowSelected={selected?.has(key) ?? false} className={plain ? '' : 'occm-row'}>
                {onSelect && (
                  <Td
                    className="pf-v6-c-table__check occm-col-select"
                    onClickCapture={(event) => {
                      shift.current = event.shiftKey;
                    }}
                  >
                    <Checkbox
                      id={`select-${key}`}
                      aria-label={props.selectLabel?.(row) ?? `Select ${key}`}
                      isChecked={selected?.has(key) ?? false}
                      isDisabled={props.selectable?.(row) === false}
                      onChange={(_, on) => pick(index, on, shift.current)}
                    />
                  </Td>
                )}
                {columns.map((column) => (
                  <Td key={column.key} dataLabel={column.title} className={column.className ?? ''}>
                    {column.cell(row)}
                  </Td>
                ))}
                {props.actions && (
                  <Td isActionCell className="occm-col-actions">
                    {props.actions(row)}
                  </Td>
                )}
              </Tr>
            );
          })}
          {!plain && <Spacer height={Math.max(0, rows.length - 1 - last) * height} span={span} />}
        </Tbody>
      </Table>
    </div>
  );
}

function Spacer({ height, span }: { height: number; span: number }) {
  if (height <= 0) return null;
  return (
    <tr aria-hidden="true" className="occm-spacer">
      <td colSpan={span} style={{ height }} />
    </tr>
  );
}

function sortable<Row>(
  props: Props<Row>,
  column: Column<Row>,
  index: number,
  order: { key: string; down: boolean } | undefined,
  setOrder: (order: { key: string; down: boolean }) => void,
): Pick<ThProps, 'sort'> {
  const { onSort, sort, columns } = props;
  if (column.sort && onSort) {
    const down = sort?.startsWith('-') ?? false;
    const current = columns.findIndex((each) => each.sort === sort?.replace(/^-/, ''));
    const sortBy = current >= 0 ? { index: current, direction: down ? ('desc' as const) : ('asc' as const) } : {};
    return {
      sort: {
        columnIndex: index,
        sortBy,
        onSort: (_, __, direction) => onSort(direction === 'desc' ? `-${column.sort}` : String(column.sort)),
      },
    };
  }
  if (!column.value) return {};
  const current = columns.findIndex((each) => each.key === order?.key);
  return {
    sort: {
      columnIndex: index,
      sortBy: current >= 0 ? { index: current, direction: order?.down ? 'desc' : 'asc' } : {},
      onSort: (_, __, direction) => setOrder({ key: column.key, down: direction === 'desc' }),
    },
  };
}

function sortHere<Row>(rows: Row[], columns: Column<Row>[], order: { key: string; down: boolean } | undefined): Row[] {
  const value = columns.find((column) => column.key === order?.key)?.value;
  if (!value || !order) return rows;
  const sign = order.down ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [left, right] = [value(a), value(b)];
    if (left === right) return 0;
    if (left === undefined) return 1;
    if (right === undefined) return -1;
    return left < right ? -sign : sign;
  });
}

const wideWindow = matchMedia('(min-width: 1500px)');

/** Whether there is room for what is nice to have. */
export function useWide(): boolean {
  return useSyncExternalStore(
    (listener) => {
      wideWindow.addEventListener('change', listener);
      return () => wideWindow.removeEventListener('change', listener);
    },
    () => wideWindow.matches,
  );
}

/** `j` and `k` go from row to row; the row's first link has the focus, so Enter opens it. */
function useRowKeys(count: number, scroll: { current: HTMLDivElement | null }, show: ((index: number) => void) | undefined) {
  const active = useRef(-1);
  const go = (index: number) => {
    if (!show || count === 0) return;
    active.current = Math.max(0, Math.min(count - 1, index));
    show(active.current);
    focusRow(scroll, active.current, 20);
  };
  useKeys({ j: () => go(active.current + 1), k: () => go(active.current - 1) });
  return active;
}

/** The row may be drawn only after the table has scrolled. */
function focusRow(scroll: { current: HTMLDivElement | null }, index: number, frames: number) {
  const link = scroll.current?.querySelector<HTMLElement>(`tr[data-row="${index}"] a, tr[data-row="${index}"] button`);
  if (link) link.focus({ preventScroll: true });
  else if (frames > 0) requestAnimationFrame(() => focusRow(scroll, index, frames - 1));
}
