import 'reflect-metadata'

/** The one place that loads the library: it needs what the line above brings, before it. */
export * from '@peculiar/x509'
