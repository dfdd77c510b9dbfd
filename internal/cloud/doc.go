// Package cloud is the one way in which this module calls the cloud: object
// storage and the image service share its credentials, transport, retries,
// stall detection and limits.
//
//	Cache      keeps a Provider's credentials until shortly before they expire
//	Transport  HTTP/1.1 with a connection per request in flight
//	Client     sends one attempt: ends it when it stalls, explains what no retry cures
//	Policy     repeats attempts within a budget of time
//	Limiter    bounds what all transfers of a process may use together
//	Clock      is the service's time, read from the Date of its answers
//
// Everything here is safe for concurrent use. What is read from a server is
// bounded, and no secret gets into an error or a log: not through formatted
// credentials, not through texts that a server returns (Credentials.Redact),
// and not through net/http's own log (Client.Do).
package cloud
