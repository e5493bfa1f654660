import { createHmac } from 'node:crypto'

/** The key in a secret as Standard Webhooks write it: `whsec_` and base64 of 24 to 64 bytes. Undefined for anything else. */
export function readWebhookSecret(text: string): Buffer | undefined {
  const base64 = /^whsec_(?<key>[A-Za-z0-9+/]+={0,2})$/.exec(text)?.groups?.['key']
  if (base64 === undefined) return undefined
  const key = Buffer.from(base64, 'base64')
  return key.length >= 24 && key.length <= 64 ? key : undefined
}

/** The headers that sign a request (Standard Webhooks, symmetric: HMAC-SHA256 over `id.timestamp.body`). `at` is in milliseconds. */
export function webhookHeaders(key: Buffer, id: string, at: number, body: Buffer): Record<string, string> {
  const timestamp = String(Math.floor(at / 1_000))
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${signature}` }
}
