import { openAuthorizers } from './authorizer/authorizers.ts'
import { defineAuthMethod } from './method.ts'

/**
 * The custom authorizer of those who name none: that of their server name (`authorizer.default`), or the one with `default: true`.
 * Stands last, so that whoever another method knows never gets to it.
 */
export const defaultAuthorizer = defineAuthMethod({
  type: 'default-authorizer',
  summary: 'The default custom authorizer, asked about those whom no other method knows.',
  open: (context) => openAuthorizers(context, 'default-authorizer', 'default'),
})
