package uploader

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/aws/smithy-go"
)

// retryPolicy is the one budget that an operation (a part, say) has.
type retryPolicy struct {
	attempts int
	min, max time.Duration
}

// wait returns the pause before attempt n+1: exponential with full jitter
// above a floor of half, so that a hundred clients do not come back at once.
func (p retryPolicy) wait(n int) time.Duration {
	d := p.min << min(n-1, 20)
	if d > p.max || d <= 0 {
		d = p.max
	}
	return d/2 + time.Duration(rand.Int64N(int64(d/2)+1))
}

// Retry describes an attempt that failed and is made again.
type Retry struct {
	Op      string        // operation, e.g. "UploadPart"
	Part    int32         // part number, 0 where there is none
	Attempt int           // the attempt that failed, from 1
	Wait    time.Duration // pause before the next one
	Reason  error         // an *Error
}

// do runs fn until it succeeds, fails for good or the budget is used up.
func (c *Client) do(ctx context.Context, t target, fn func(ctx context.Context) error) error {
	refreshed := false
	for n := 1; ; n++ {
		err := fn(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return t.wrap(cancelCause(ctx), n)
		}
		again := retryable(err)
		if !again && !refreshed && expired(err) {
			// The provider is asked again: the keys may have been renewed
			// before the time they gave, or gave none.
			c.creds.Invalidate()
			refreshed, again = true, true
		}
		if !again || n >= c.retry.attempts {
			return t.wrap(err, n)
		}
		if err := c.pause(ctx, t, n, err); err != nil {
			return t.wrap(err, n)
		}
	}
}

func (c *Client) pause(ctx context.Context, t target, n int, reason error) error {
	d := c.retry.wait(n)
	if m := meterFrom(ctx); m != nil {
		m.retries.Add(1)
		if m.onRetry != nil {
			m.onRetry(Retry{Op: t.op, Part: t.part, Attempt: n, Wait: d, Reason: t.wrap(reason, n)})
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return cancelCause(ctx)
	}
}

// cancelCause prefers the reason over the bare context error, and keeps the
// latter testable.
func cancelCause(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return ctx.Err()
}

// transientCodes are answers with a 4xx status that are worth another attempt.
var transientCodes = map[string]bool{
	"RequestTimeout":            true,
	"RequestTimeTooSkewed":      true, // the SDK corrects its clock by the answer's Date
	"IncompleteBody":            true,
	"BadDigest":                 true, // damaged on the way: the next copy may arrive whole
	"XAmzContentSHA256Mismatch": true,
	"SlowDown":                  true,
	"Throttling":                true,
	"TooManyRequests":           true,
}

// finalError is one that another attempt would not cure, whatever its kind.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

// retryable tells a passing failure from a permanent one.
func retryable(err error) bool {
	var src *sourceError
	var final *finalError
	if errors.As(err, &src) || errors.As(err, &final) || errors.Is(err, ErrCredentials) || errors.Is(err, ErrObjectChanged) {
		return false
	}
	if errors.Is(err, ErrBadDigest) || errors.Is(err, ErrStalled) {
		return true
	}
	var inv smithy.InvalidParamsError
	var ser *smithy.SerializationError
	if errors.As(err, &inv) || errors.As(err, &ser) {
		return false
	}
	status, _ := httpDetails(err)
	var api smithy.APIError
	if errors.As(err, &api) && transientCodes[api.ErrorCode()] {
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
	var e *Error
	if !errors.As(err, &e) {
		status, _ := httpDetails(err)
		return status == 0 || status >= 500 || status < 300
	}
	return e.StatusCode == 0 || e.StatusCode >= 500 || e.StatusCode < 300
}

// expired reports an answer that new credentials may cure.
func expired(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "ExpiredToken", "InvalidToken", "InvalidSecurityToken", "InvalidAccessKeyId":
		return true
	}
	return false
}
