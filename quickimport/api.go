package quickimport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/fastimage/fastimage/internal/cloud"
)

// maxAnswer bounds what is read of any answer: the real ones are a few KB.
const maxAnswer = 4 << 20

// garbledAttempts bounds the attempts of a read whose answers make no sense.
const garbledAttempts = 4

// call is one request to a service of the cloud.
type call struct {
	op, method, endpoint, path string
	query                      url.Values
	body                       any // nil: none
}

// get repeats a read until it has an answer, fails for good, or the retry budget
// is used up.
func (c *Client) get(ctx context.Context, op, endpoint, path string, query url.Values, out any) error {
	return c.getWithin(ctx, c.o.retryBudget, op, endpoint, path, query, out)
}

func (c *Client) getWithin(ctx context.Context, budget time.Duration, op, endpoint, path string, query url.Values, out any) error {
	q := call{op: op, method: http.MethodGet, endpoint: endpoint, path: path, query: query}
	return c.retry(ctx, budget, op, func(ctx context.Context) error { return c.do(ctx, q, out) }, judgeRead)
}

// retry repeats f as judge says, within the budget. If ctx ends first, the error
// has the last failure beside the context's.
func (c *Client) retry(ctx context.Context, budget time.Duration, op string, f func(context.Context) error, judge func(error, int) cloud.Verdict) error {
	var last error
	policy := cloud.Policy{Budget: budget, Min: firstPause}
	within := func(err error, n int) cloud.Verdict {
		v := judge(err, n)
		if d := policy.FirstContact(err, c.http.Clock); d > 0 {
			v.Within = d
		}
		return v
	}
	attempts, err := policy.Do(ctx, cloud.Operation{Op: op, Judge: within, Try: func(ctx context.Context, _ int) error {
		err := f(ctx)
		if err != nil && ctx.Err() == nil {
			last = err
		}
		return err
	}})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && last != nil:
		return pkg.Errorf("%s: %w; before that: %w", op, context.Cause(ctx), last)
	case ctx.Err() != nil:
		return pkg.Errorf("%s: %w", op, err)
	case attempts > 1:
		return pkg.Errorf("%w (gave up after %d attempts)", err, attempts)
	}
	return err
}

// firstPause is the first pause between attempts; tests make it shorter.
var firstPause = 250 * time.Millisecond

// judgeRead says whether another attempt may cure the error of a read.
func judgeRead(err error, n int) cloud.Verdict {
	if api, ok := errors.AsType[*APIError](err); ok {
		return cloud.Verdict{Again: api.Retryable, After: api.RetryAfter}
	}
	if cloud.Permanent(err, n) != nil {
		return cloud.Verdict{}
	}
	return cloud.Verdict{Again: isNetwork(err) || errors.Is(err, ErrProtocol) && n < garbledAttempts}
}

// transient reports whether another attempt of a read may cure err.
func transient(err error) bool { return judgeRead(err, 1).Again }

// networkError is a request without a whole answer: the connection was not made
// or broke, or the answer did not come in time.
type networkError struct{ err error }

func (e *networkError) Error() string { return e.err.Error() }
func (e *networkError) Unwrap() error { return e.err }

func isNetwork(err error) bool {
	_, ok := errors.AsType[*networkError](err)
	return ok
}

func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// do sends one request and decodes the answer. A request that is refused for
// its credentials was not carried out, so it is sent once more if the provider
// has others by now: a token may have expired before its time.
func (c *Client) do(ctx context.Context, q call, out any) error {
	creds, err := c.credentials(ctx)
	if err != nil {
		return pkg.Errorf("%s: %w", q.op, err)
	}
	err = c.doAs(ctx, creds, q, out)
	if !errors.Is(err, ErrAuthentication) || !c.creds.Refused(ctx, creds) {
		return err
	}
	if creds, err = c.credentials(ctx); err != nil {
		return pkg.Errorf("%s: %w", q.op, err)
	}
	return c.doAs(ctx, creds, q, out)
}

// doAs sends one request, signed at this moment.
func (c *Client) doAs(ctx context.Context, creds Credentials, q call, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.apiTimeout)
	defer cancel()
	req, err := c.request(ctx, creds, q)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return pkg.Errorf("%s: %w", q.op, &networkError{err})
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return pkg.Errorf("%s: reading the answer: %w", q.op, &networkError{err})
	}
	if resp.StatusCode/100 != 2 {
		return apiError(q.op, resp, data, creds)
	}
	if out == nil {
		return nil
	}
	if len(data) > maxAnswer {
		return pkg.Errorf("%s: %w: more than %d bytes", q.op, ErrProtocol, maxAnswer)
	}
	if r, ok := out.(interface{ redactWith(func(string) string) }); ok {
		r.redactWith(creds.Redact)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return pkg.Errorf("%s: %w: not the expected JSON: %s", q.op, ErrProtocol, answerText(resp.Header.Get("Content-Type"), data, creds))
	}
	return nil
}

func (c *Client) request(ctx context.Context, creds Credentials, q call) (_ *http.Request, err error) {
	var body []byte
	if q.body != nil {
		if body, err = json.Marshal(q.body); err != nil {
			return nil, pkg.Errorf("%s: %w", q.op, err)
		}
	}
	u, err := url.Parse(q.endpoint)
	if err != nil {
		return nil, pkg.Errorf("%s: %w", q.op, err)
	}
	u = u.JoinPath(q.path)
	u.RawQuery = canonicalQuery(q.query)
	req, err := http.NewRequestWithContext(ctx, q.method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, pkg.Errorf("%s: %w", q.op, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	sign(req, body, creds, c.knownProject(creds), time.Now())
	return req, nil
}
