/** The public library. Used by path until a `prepack` emits JavaScript (DESIGN §6). */
export type { CertificateFacts, CertificateName } from './core/certificate.ts'
export type { PolicyContext, PolicyDecision, PolicyRequest } from './policy/context.ts'
export { evaluatePolicies } from './policy/evaluate.ts'
