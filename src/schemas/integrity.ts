import { Type } from 'typebox'

export const Integrity = Type.Object({
  healthy: Type.Boolean(),
  broken: Type.Array(
    Type.Object({
      invariant: Type.String({ description: 'As docs/operations.md names it, which also says what to do' }),
      subject: Type.String({ description: 'The row that breaks it' }),
      detail: Type.String({ description: 'How it breaks it' }),
    }),
  ),
})
