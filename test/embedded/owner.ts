// Run by the tests as a separate process: owns a data folder, reports it in one line of JSON, and on SIGINT
// shows that the server still answers before it stops it.
import { once } from 'node:events'
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts'
import { queryOnce } from '../helpers/servers/embedded.ts'

const postgres = await startEmbeddedPostgres({ dataDir: process.argv[2]! })
const interrupted = once(process, 'SIGINT')
console.log(JSON.stringify({ databaseUrl: postgres.databaseUrl, pid: postgres.pid }))
await interrupted
const answer = await queryOnce(postgres.databaseUrl, 'select 42 as answer')
await postgres.stop()
console.log(JSON.stringify(answer))
