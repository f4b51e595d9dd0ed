/** Objects as trees: values at paths such as `spec.privateKey.size`. */

export type Tree = { [name: string]: unknown };

export function getAt(tree: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((node, name) => (node && typeof node === 'object' ? (node as Tree)[name] : undefined), tree);
}

/** A copy with the value at the path; what is empty is left out, and so is what becomes empty by that. */
export function setAt<T>(tree: T, path: string, value: unknown): T {
  const [name, ...rest] = path.split('.') as [string, ...string[]];
  const copy: Tree = { ...((tree ?? {}) as Tree) };
  const next = rest.length > 0 ? setAt(copy[name], rest.join('.'), value) : value;
  if (isEmpty(next)) delete copy[name];
  else copy[name] = next;
  return copy as T;
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === '') return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

/** Whether a field lies at or below a path. */
export function under(field: string, path: string): boolean {
  return field === path || field.startsWith(`${path}.`) || field.startsWith(`${path}[`);
}
