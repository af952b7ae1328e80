/** A copy of an OpenAPI document with every reference replaced by its target. */
export function dereferenced<Document>(document: Document): Document {
  return dereference(document, document) as Document
}

function dereference(value: unknown, root: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => dereference(item, root))
  if (typeof value !== 'object' || value === null) return value
  const { $ref: reference, ...beside } = value as Record<string, unknown>
  const copy = Object.fromEntries(Object.entries(beside).map(([key, of]) => [key, dereference(of, root)]))
  return typeof reference === 'string' ? { ...(dereference(find(reference, root), root) as object), ...copy } : copy
}

function find(reference: string, root: unknown): unknown {
  return reference
    .split('/')
    .slice(1)
    .reduce((at, step) => (at as Record<string, unknown>)[step], root)
}
