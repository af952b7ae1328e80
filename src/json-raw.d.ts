// TypeScript's library does not have the source-text access of JSON (ECMAScript 2026) yet; Node 24 does.
interface RawJson {
  readonly rawJSON: string
}
interface JSON {
  rawJSON(text: string): RawJson
  parse(
    text: string,
    reviver: (this: unknown, key: string, value: unknown, context: { source?: string }) => unknown,
  ): unknown
}
