import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import type { Credential } from '../../src/core/credential.ts'
import { messageOf, SluiceError } from '../../src/core/errors.ts'
import type { AnyCredentialDefinition } from '../../src/core/forwarder.ts'
import { keepLines } from '../support/logs.ts'

/** What a credential type's own test brings along. */
export interface CredentialSubject {
  readonly definition: AnyCredentialDefinition
  readonly use: Credential['use']
  /** Settings that open and can be used. */
  readonly good: Readonly<Record<string, unknown>>
  /** Settings that the schema refuses, by title. */
  readonly bad: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** Settings that the schema takes and that lead nowhere, by title. */
  readonly failing?: Readonly<Record<string, () => Readonly<Record<string, unknown>>>>
  /** Texts out of `good`, `bad` and `failing` that are secret. */
  readonly secrets: readonly string[]
}

/** What every type of credential owes; called by the test of each. */
export function credentialConformance(subject: CredentialSubject): void {
  const { definition, use, good, bad, failing = {}, secrets } = subject

  describe(`credential ${definition.type}: conformance`, () => {
    it(`opens as a credential for ${use}`, async () => {
      const credential = await open(good)
      assert.equal(credential.use, use)
      await used(credential)
    })

    it('takes no setting that it does not know', () => {
      assert.equal(definition.settings.safeParse({ ...good, nonsense: 1 }).success, false)
    })

    for (const [title, settings] of Object.entries(bad)) {
      it(`refuses ${title}, and says so without the secret`, () => {
        const { success, error } = definition.settings.safeParse(settings)
        assert.equal(success, false)
        assertSecretFree(String(error?.message))
      })
    }

    for (const [title, settings] of Object.entries(failing)) {
      it(`fails with CREDENTIAL_FAILED for ${title}, without the secret in sentence or log`, async () => {
        const log = keepLines()
        await assert.rejects(
          async () => used(await open(settings(), log)),
          (error: unknown) => {
            assert.ok(error instanceof SluiceError)
            assert.equal(error.code, 'CREDENTIAL_FAILED')
            assertSecretFree(messageOf(error))
            return true
          },
        )
        assertSecretFree(inspect(log.lines, { depth: 5 }))
      })
    }

    function assertSecretFree(text: string): void {
      for (const secret of secrets) assert.ok(!text.includes(secret), 'a secret is in the text')
    }
  })

  async function open(settings: Readonly<Record<string, unknown>>, log = keepLines()): Promise<Credential> {
    const signal = new AbortController().signal
    return definition.open(definition.settings.parse(settings), { log, signal, worker: 'w' })
  }
}

async function used(credential: Credential): Promise<void> {
  if (credential.use === 'aws') {
    const { accessKeyId, secretAccessKey } = await credential.keys()
    assert.ok(accessKeyId.length > 0 && secretAccessKey.length > 0)
  }
  if (credential.use === 'http') assert.ok(Object.keys(await credential.headers()).length > 0)
}
