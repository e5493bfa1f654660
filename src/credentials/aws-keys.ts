import { z } from 'zod'
import { defineCredential } from '../core/credential.ts'

/** A part of an AWS credential: one word, because a stray newline of a secret file only shows as a wrong signature. */
const word = z.string().regex(/^[\x21-\x7e]+$/, 'must be one word of visible ASCII, without spaces or line breaks')

/** An access key, as AWS hands it out; with `sessionToken` a temporary one. */
export const awsKeysSettings = z.strictObject({
  accessKeyId: word,
  secretAccessKey: word,
  sessionToken: word.exactOptional(),
})

/** The credential type `aws-keys`: an access key of an IAM user, or a temporary one that somebody else keeps fresh. */
export const awsKeys = defineCredential({
  type: 'aws-keys',
  summary: 'An AWS access key: accessKeyId and secretAccessKey, with sessionToken a temporary one.',
  settings: awsKeysSettings,
  async open(settings) {
    return { use: 'aws', keys: async () => settings }
  },
})
