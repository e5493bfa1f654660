import { type AuthMethod, defineAuthMethod } from './method.ts'
import { openAuthorizers } from './authorizer/authorizers.ts'
import { type AuthorizerSettings, authorizerSettings, examineAuthorizer } from './authorizer/settings.ts'

/**
 * Custom authorizers, as AWS IoT has them (aws-security §5): a function of the user's own, behind HTTP or in a local module, says
 * whether somebody may come in, as whom, and with which policies. This method is asked first, about those who name an authorizer
 * and those whose authorizer wants a client certificate besides (`certificate: required`, AWS's CUSTOM_AUTH_X509); for these
 * `x509` is the method that judges the certificate. `defaultAuthorizer` is asked last, about those who name none.
 */
export function createAuthorizerMethod(x509: Pick<AuthMethod, 'open'>) {
  return defineAuthMethod({
    type: 'authorizer',
    summary: 'A custom authorizer that the client names: your own HTTP endpoint or module decides.',
    section: {
      key: 'authorizers',
      noun: 'authorizer',
      schema: authorizerSettings,
      examine: examineAuthorizer,
      // At most one in all is the default.
      unique: (settings: AuthorizerSettings) => (settings.default ? [{ text: 'default', path: 'default' }] : []),
    },
    open: (context) => openAuthorizers(context, 'authorizer', 'named', x509),
  })
}
