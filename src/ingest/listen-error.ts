import { messageOf, SluiceError } from '../core/errors.ts'
import { describeBusyPort } from './busy-port.ts'

/** What a door throws when it can't listen: which setting, where, and where known who has the port. */
export async function failedToListen(
  setting: string,
  host: string,
  port: number,
  error: unknown,
): Promise<SluiceError> {
  const where = `${setting}: ${host}:${port}`
  if (codeOf(error) !== 'EADDRINUSE')
    return new SluiceError('LISTEN_FAILED', `${where}: ${messageOf(error)}`, { cause: error })
  return new SluiceError('LISTEN_FAILED', `${where} is taken: ${await describeBusyPort(port, host)}`, { cause: error })
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
}
