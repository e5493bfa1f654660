/** What stands before the name in the resource of an action; `*`: it is asked about no resource in particular. */
export type ResourceType = 'client' | 'topic' | 'topicfilter' | 'thing' | 'rolealias' | '*'

/** Every action that Sluice may be asked about, AWS IoT's data plane, and what it is asked about (aws-security §7.2). */
export const resourceTypes = {
  'iot:Connect': 'client',
  'iot:Publish': 'topic',
  'iot:RetainPublish': 'topic',
  'iot:Subscribe': 'topicfilter',
  'iot:Receive': 'topic',
  'iot:GetRetainedMessage': 'topic',
  'iot:ListRetainedMessages': '*',
  'iot:GetThingShadow': 'thing',
  'iot:UpdateThingShadow': 'thing',
  'iot:DeleteThingShadow': 'thing',
  'iot:ListNamedShadowsForThing': 'thing',
  'iot:DescribeJobExecution': 'thing',
  'iot:GetPendingJobExecutions': 'thing',
  'iot:StartNextPendingJobExecution': 'thing',
  'iot:UpdateJobExecution': 'thing',
  'iot:AssumeRoleWithCertificate': 'rolealias',
  'iot:GetConnection': 'client',
  'iot:DeleteConnection': 'client',
  'iot:ListSubscriptions': 'client',
  'iot:SendDirectMessage': 'client',
} as const satisfies Readonly<Record<string, ResourceType>>

export type Action = keyof typeof resourceTypes

export const actions = Object.keys(resourceTypes) as readonly Action[]

/**
 * The actions for which an authenticated Cognito identity needs the policies attached to it beside those of its role; for
 * all others the role's alone decide (AWS, "Policies for HTTP and WebSocket clients").
 */
export const scopedActions: ReadonlySet<string> = new Set(
  [
    'iot:Connect',
    'iot:Publish',
    'iot:Subscribe',
    'iot:Receive',
    'iot:GetThingShadow',
    'iot:UpdateThingShadow',
    'iot:DeleteThingShadow',
  ].map((action) => action.toLowerCase()),
)
