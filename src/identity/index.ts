import { createAuthorizerMethod } from './authorizer.ts'
import { defaultAuthorizer } from './default-authorizer.ts'
import { jwt } from './jwt.ts'
import type { AuthMethod } from './method.ts'
import { password } from './password.ts'
import { sigv4 } from './sigv4.ts'
import { token } from './token.ts'
import { webhook } from './webhook.ts'
import { x509 } from './x509.ts'

/** Every auth method, in the order in which they are asked. */
export const authMethods: readonly AuthMethod[] = [
  createAuthorizerMethod(x509), // a custom authorizer that is named, or one that goes with a client certificate
  x509, // a client certificate of the TLS handshake
  sigv4, // a request signed with an access key
  jwt, // a token of an OpenID Connect provider
  webhook, // a request whose body is signed with a shared secret
  token, // a secret that principal and Sluice share; Sluice keeps its hash
  password, // the same for people's secrets: what is kept of it is slow to guess
  defaultAuthorizer, // whom nobody has known so far
]
