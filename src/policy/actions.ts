/** Every action that Sluice may be asked about: AWS IoT's data plane (aws-security §7.2). */
export const actions = [
  'iot:Connect',
  'iot:Publish',
  'iot:RetainPublish',
  'iot:Subscribe',
  'iot:Receive',
  'iot:GetRetainedMessage',
  'iot:ListRetainedMessages',
  'iot:GetThingShadow',
  'iot:UpdateThingShadow',
  'iot:DeleteThingShadow',
  'iot:ListNamedShadowsForThing',
  'iot:DescribeJobExecution',
  'iot:GetPendingJobExecutions',
  'iot:StartNextPendingJobExecution',
  'iot:UpdateJobExecution',
  'iot:AssumeRoleWithCertificate',
  'iot:GetConnection',
  'iot:DeleteConnection',
  'iot:ListSubscriptions',
  'iot:SendDirectMessage',
] as const

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
