import { Type } from 'typebox'

export const Integrity = Type.Object(
  {
    healthy: Type.Boolean({ description: 'Whether every invariant holds.' }),
    broken: Type.Array(
      Type.Object(
        {
          invariant: Type.String({
            description: 'Its name in docs/operations.md, which also says what to do.',
          }),
          subject: Type.String({ description: 'The row that breaks it.' }),
          detail: Type.String({ description: 'How the row breaks it.' }),
        },
        { title: 'BrokenInvariant' },
      ),
    ),
  },
  { title: 'IntegrityReport' },
)
