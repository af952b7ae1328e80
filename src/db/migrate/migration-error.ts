/** An error that names the file, and the line if Postgres says where the error is. */
export function describeSqlError(where: string, sqlText: string, error: unknown): Error {
  const { message, position } = error as Error & { position?: string }
  const line = position ? sqlText.slice(0, Number(position)).split('\n').length : undefined
  return new Error(`${where}${line ? `, line ${line}` : ''}: ${message}`, { cause: error })
}
