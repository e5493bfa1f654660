import { suggestion } from '../core/nearest.ts'
import { show } from './values.ts'

/** `there is no variable "iot:clientId"; did you mean iot:ClientId?` */
export function complainUnknown(kind: string, name: string, known: readonly string[]): string {
  return `there is no ${kind} ${show(name)}${suggestion(name, known, (close) => close)}`
}
