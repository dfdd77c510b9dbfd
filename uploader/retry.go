package uploader

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/fastimage/fastimage/internal/cloud"
)

// Retry describes an attempt that failed and will be made again.
type Retry = cloud.Retry

// ObserveRetries returns a context in which f is called with every retry of
// every request, those of uploads included, from several goroutines at once. An
// observer that the context had already is called first. f must not block.
func ObserveRetries(ctx context.Context, f func(Retry)) context.Context {
	return cloud.Observe(ctx, f)
}

// PermanentError is in the chain of an error that no retry can cure because the
// endpoint cannot be reached as it is configured. Its Code is one of
// unknown-authority, invalid-certificate, tls-handshake, not-tls, tls-port,
// unknown-host, html-page and proxy-auth.
type PermanentError = cloud.PermanentError

type keysKey struct{}

// keysFrom returns the credentials of the attempt that a context belongs to.
func keysFrom(ctx context.Context) cloud.Credentials {
	if f, ok := ctx.Value(keysKey{}).(func() cloud.Credentials); ok {
		return f()
	}
	return cloud.Credentials{}
}

// do makes attempts until one succeeds, fails for good or the budget is used up.
func (c *Client) do(ctx context.Context, t target, fn func(ctx context.Context) error) error {
	return c.doWithin(ctx, c.retry, t, fn)
}

// doWithin is do with another budget.
func (c *Client) doWithin(ctx context.Context, p cloud.Policy, t target, fn func(ctx context.Context) error) error {
	var used cloud.Credentials
	renewed := false
	n, err := p.Do(ctx, cloud.Operation{
		Op: t.op, Part: t.part,
		Try: func(ctx context.Context, _ int) (err error) {
			if used, err = c.creds.Credentials(ctx); err == nil && !used.HasKeys() {
				err = errors.New("access key or secret key is empty")
			}
			if err != nil {
				return &markedError{ErrCredentials, err}
			}
			keys := used
			return fn(context.WithValue(ctx, keysKey{}, func() cloud.Credentials { return keys }))
		},
		Judge: func(err error, n int) cloud.Verdict {
			v := cloud.Verdict{
				Again: retryable(err, n), After: retryAfter(err), Within: p.FirstContact(err, c.clock),
				Cause: t.wrap(err, n, used),
			}
			if again := refusedKeys(err); !v.Again && !renewed && again != keysAccepted {
				// The keys may have been replaced before the time they gave, or gave none.
				renewed = true
				others := c.creds.Refused(ctx, used)
				v.Again, v.Now = others || again == keysExpired, true
			}
			return v
		},
	})
	return t.wrap(err, n, used)
}

// cancelCause prefers the reason over the bare context error.
func cancelCause(ctx context.Context) error { return context.Cause(ctx) }

// transientCodes are answers with a 4xx status that are worth another attempt.
var transientCodes = map[string]bool{
	"RequestTimeout":             true,
	"RequestTimeTooSkewed":       true, // the SDK corrects its clock by the answer's Date
	"IncompleteBody":             true,
	"BadDigest":                  true, // damaged on the way: the next copy may arrive whole
	"XAmzContentSHA256Mismatch":  true,
	"SlowDown":                   true,
	"Throttling":                 true,
	"TooManyRequests":            true,
	"OperationAborted":           true, // another operation on the same resource is under way
	"ConditionalRequestConflict": true,
}

// finalError is one that another attempt would not cure, whatever its kind.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

// is reports whether err has an error of type E in its chain.
func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// retryable tells a passing failure of attempt n from a permanent one.
func retryable(err error, n int) bool {
	if p, ok := errors.AsType[*cloud.ProviderError](err); ok {
		return p.Temporary
	}
	if is[*sourceError](err) || is[*finalError](err) || errors.Is(err, ErrCredentials) || errors.Is(err, ErrObjectChanged) ||
		cloud.Permanent(err, n) != nil {
		return false
	}
	if errors.Is(err, ErrBadDigest) || errors.Is(err, cloud.ErrStalled) {
		return true
	}
	if is[smithy.InvalidParamsError](err) || is[*smithy.SerializationError](err) {
		return false
	}
	status, _ := httpDetails(err)
	if api, ok := errors.AsType[smithy.APIError](err); ok && transientCodes[api.ErrorCode()] {
		return true
	}
	switch {
	case status == http.StatusNotImplemented:
		return false
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests:
		return true
	case status >= 500, status == 0:
		return true // no answer at all: the connection broke
	case status >= 300:
		return false
	}
	return true // a success whose body was cut or damaged
}

// ambiguous reports whether the service may have acted although we saw an error.
func ambiguous(err error) bool {
	if cloud.Permanent(err, 2) != nil {
		return false
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.StatusCode == 0 || e.StatusCode >= 500 || e.StatusCode < 300
	}
	status, _ := httpDetails(err)
	return status == 0 || status >= 500 || status < 300
}

// keysVerdict is what an answer says of the keys it was asked with.
type keysVerdict int

const (
	keysAccepted keysVerdict = iota // or nothing about them
	keysDoubtful                    // refused without a reason: other keys may do
	keysExpired                     // refused as unknown or expired
)

// refusedKeys looks for an answer that other credentials may cure. Answers to
// HEAD have no body: a bare 400 or 403 is all that one says about expired keys.
func refusedKeys(err error) keysVerdict {
	status, _ := httpDetails(err)
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return bareVerdict(status)
	}
	switch api.ErrorCode() {
	case "ExpiredToken", "InvalidToken", "InvalidSecurityToken", "InvalidAccessKeyId", "TokenRefreshRequired":
		return keysExpired
	case "SignatureDoesNotMatch":
		return keysDoubtful // a secret key that was replaced
	case "", "Forbidden", "BadRequest", "Unauthorized", "UnknownError":
		return bareVerdict(status)
	}
	return keysAccepted
}

func bareVerdict(status int) keysVerdict {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return keysDoubtful
	}
	return keysAccepted
}

// retryAfter returns the pause that an answer asks for.
func retryAfter(err error) time.Duration {
	re, ok := errors.AsType[*smithyhttp.ResponseError](err)
	if !ok || re.Response == nil || re.Response.Response == nil {
		return 0
	}
	return cloud.RetryAfter(re.Response.Header)
}
