import { Problem } from '../../errors.ts'

/** Builds the 409 for a request that needs archived records. @param partitions their names, such as llm_cost_records_2026_08. */
export function archivedProblem(partitions: string[]): Problem {
  const months = [...new Set(partitions.map((name) => name.replace(/^.*_([0-9]+)_([0-9]{2})$/, '$1-$2')))].toSorted()
  return new Problem(
    'archived',
    `The records of ${months.join(', ')} are archived. Totals by tenant, provider, model and tier in whole quarters of an hour (UTC) are there; for the rest the months have to be restored.`,
    { members: { months } },
  )
}
