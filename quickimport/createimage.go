package quickimport

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/fastimage/fastimage/internal/cloud"
)

// CreateImage asks for an image of an object that is in the bucket and returns
// the id of the job that makes it. It sends nothing that breaks a documented
// rule ([Image.Validate]).
//
// The POST is not idempotent. Only an answer that proves that nothing was done is
// followed by another attempt: flow control is waited out until ctx ends, a
// connection that could not be made within the retry budget. After any other
// error, a 5xx without a documented code included, the image may have been
// created: the request is not sent again, and the error matches [ErrUncertain].
func (c *Client) CreateImage(ctx context.Context, img Image) (id string, err error) {
	img = img.withDefaults()
	if err := img.Validate(); err != nil {
		return "", err
	}
	// Flow control has no budget but the context's: 40 jobs at a time take their
	// time.
	err = c.retry(ctx, cloud.NoLimit, "create image", func(ctx context.Context) error {
		id, err = c.postCreate(ctx, img)
		return err
	}, func(err error, n int) cloud.Verdict {
		if api, ok := errors.AsType[*APIError](err); ok {
			return cloud.Verdict{Again: api.flowControl(), After: api.RetryAfter}
		}
		again := isNetwork(err) && notSent(err) && cloud.Permanent(err, n) == nil
		return cloud.Verdict{Again: again, Within: cmp.Or(c.o.retryBudget, cloud.DefaultBudget)}
	})
	return id, err
}

func (c *Client) postCreate(ctx context.Context, img Image) (string, error) {
	var answer looseAnswer
	err := c.do(ctx, call{op: "create image", method: http.MethodPost, endpoint: c.o.ims,
		path: "/" + c.o.apiVersion + "/cloudimages/quickimport/action", body: img.body()}, &answer)
	api, answered := errors.AsType[*APIError](err)
	switch {
	case isNetwork(err) && !notSent(err), errors.Is(err, ErrProtocol), answered && !api.refused():
		return "", uncertain(img.Name, err)
	case err != nil:
		return "", err
	}
	id := looseText(answer["job_id"])
	if !jobID.MatchString(id) {
		return "", uncertain(img.Name, pkg.Errorf("%w: no job id", ErrProtocol))
	}
	return id, nil
}

// looseAnswer is an answer of which one field matters.
type looseAnswer map[string]any

func uncertain(name string, err error) error {
	return pkg.Errorf("%w: the request for image %q may have been carried out: %w", ErrUncertain, name, err)
}

// notSent reports errors that came before a single byte of the request left: the
// name was not resolved or the connection not made.
func notSent(err error) bool {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}
