package quickimport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"
)

// maxAnswer bounds what is read of any answer: the real ones are a few KB.
const maxAnswer = 4 << 20

// attempts bounds the tries of one request that is safe to repeat; with
// pauses of 0.25 s doubling up to 8 s that is about 20 s of a server that
// answers 500.
const attempts = 8

// firstPause is the first of these pauses; tests make it shorter.
var firstPause = 250 * time.Millisecond

// call is one request to a service of the cloud.
type call struct {
	op, method, endpoint, path string
	query                      url.Values
	body                       any // nil: none
}

// get repeats a read until it has an answer, fails for good, or attempts run out.
func (c *Client) get(ctx context.Context, op, endpoint, path string, query url.Values, out any) error {
	return c.retry(ctx, op, func() error {
		return c.do(ctx, call{op: op, method: http.MethodGet, endpoint: endpoint, path: path, query: query}, out)
	}, transient)
}

// retry calls f until it succeeds or its error is not of the kind again.
func (c *Client) retry(ctx context.Context, op string, f func() error, again func(error) bool) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := f()
		if err == nil || !again(err) || ctx.Err() != nil {
			return err
		}
		if try == attempts {
			return fmt.Errorf("%w (gave up after %d attempts; try again later)", err, attempts)
		}
		c.o.logger.LogAttrs(ctx, slog.LevelInfo, "retrying", logAttrs(op, try, err)...)
		if sleep(ctx, jitter(pause)) != nil {
			return err
		}
		pause = min(2*pause, 8*time.Second)
	}
}

// transient tells errors that another try of a read may cure.
func transient(err error) bool {
	if api := (*APIError)(nil); errors.As(err, &api) {
		return api.Retryable
	}
	var network *url.Error
	return errors.As(err, &network)
}

func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// do sends one request and decodes the answer. A request that is refused for
// its credentials was not carried out, so it is sent once more where the
// provider has others by now: a token may have expired before its time.
func (c *Client) do(ctx context.Context, q call, out any) error {
	creds, err := c.creds.Credentials(ctx)
	if err == nil {
		err = checkCredentials(creds)
	}
	if err != nil {
		return fmt.Errorf("quickimport: %s: %w", q.op, err)
	}
	err = c.doAs(ctx, creds, q, out)
	if !errors.Is(err, ErrAuthentication) || !c.creds.Refused(ctx, creds) {
		return err
	}
	if creds, err = c.creds.Credentials(ctx); err != nil {
		return fmt.Errorf("quickimport: %s: %w", q.op, err)
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
		return fmt.Errorf("quickimport: %s: %w", q.op, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("quickimport: %s: reading the answer: %w", q.op, &url.Error{Op: q.method, URL: q.endpoint, Err: err})
	}
	if resp.StatusCode/100 != 2 {
		return apiError(q.op, resp, data)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("quickimport: %s: %w: not JSON: %w", q.op, ErrProtocol, err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, creds Credentials, q call) (_ *http.Request, err error) {
	var body []byte
	if q.body != nil {
		if body, err = json.Marshal(q.body); err != nil {
			return nil, fmt.Errorf("quickimport: %s: %w", q.op, err)
		}
	}
	u, err := url.Parse(q.endpoint)
	if err != nil {
		return nil, fmt.Errorf("quickimport: %s: %w", q.op, err)
	}
	u = u.JoinPath(q.path)
	u.RawQuery = canonicalQuery(q.query)
	req, err := http.NewRequestWithContext(ctx, q.method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("quickimport: %s: %w", q.op, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	sign(req, body, creds, c.knownProject(creds), time.Now())
	return req, nil
}

// apiError reads both documented error forms.
func apiError(op string, resp *http.Response, data []byte) error {
	var form struct {
		Error     struct{ Code, Message string }
		Code      string `json:"error_code"`
		Message   string `json:"error_msg"`
		RequestID string `json:"request_id"`
	}
	_ = json.Unmarshal(data, &form) // a proxy may answer with HTML: then the status has to do
	e := &APIError{Op: op, StatusCode: resp.StatusCode, Code: form.Code, Message: form.Message, RequestID: resp.Header.Get("X-Request-Id")}
	if e.Code == "" {
		e.Code, e.Message = form.Error.Code, form.Error.Message
	}
	if e.RequestID == "" {
		e.RequestID = form.RequestID
	}
	e.Retryable = e.flowControl() || e.StatusCode >= 500
	return e
}
