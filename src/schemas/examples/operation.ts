/** What openapi.yaml says of one operation beside its schemas. */
export type OperationExamples = {
  /** Of the path, query and headers, by name. They win over those of every operation. */
  parameters?: Readonly<Record<string, string | number | boolean>>
  /** By what they show. */
  bodies?: Readonly<Record<string, object>>
  /** By status. */
  answers: Readonly<Record<number, AnswerExample>>
}

type AnswerExample = {
  /** What the status means in this operation. */
  means: string
  /** Absent where the answer has no body. */
  value?: object
  /** By content type, for an answer that is not JSON. */
  lines?: Readonly<Record<string, string>>
}

/** By operationId. */
export type RoomExamples = Readonly<Record<string, OperationExamples>>

export const RESERVATION_ID = '01a230f0-8d11-78a3-a79d-4e7dcdf42b9d'
export const COST_RECORD_ID = '01a230f0-9955-7641-bbe4-cf86d1fb9fa7'
export const MORNING = '2026-12-01T09:30:00Z'
export const DAY = '2026-12-01T00:00:00Z'
export const NEXT_DAY = '2026-12-02T00:00:00Z'

export const ATTRIBUTION = {
  tenant_id: 'acme',
  user_id: 'u-17',
  conversation_id: 'c-9',
  path_id: 'support-agent',
  labels: { feature: 'chat' },
}
