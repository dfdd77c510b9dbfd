package quickimport

import (
	"context"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastimage/fastimage/internal/cloud"
	"github.com/fastimage/fastimage/uploader"
)

// Client imports images into one region. It is made by [New] and safe for
// concurrent use.
type Client struct {
	o     *options
	http  *cloud.Client
	obs   *uploader.Client
	creds *cloud.Cache
	share *budget

	jobEndpoint atomic.Int32 // index of the endpoint of jobs that works

	mu      sync.Mutex
	project string // guarded by mu: the project id once it was looked up
}

// New makes a client. Nothing is sent before the first call.
func New(opts ...Option) (*Client, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	c := &Client{
		o: o, project: o.projectID, creds: cloud.NewCache(o.credentials),
		http: &cloud.Client{Transport: o.transport, Stall: o.stall, UserAgent: o.userAgent, Clock: &cloud.Clock{}},
	}
	if c.share, err = newBudget(o.limits); err != nil {
		return nil, pkg.Errorf("%w", err)
	}
	if c.obs, err = c.newOBS(); err != nil {
		return nil, pkg.Errorf("%w", err)
	}
	return c, nil
}

// Close releases the client's idle connections. Imports that are running are
// not ended.
func (c *Client) Close() error {
	if t, ok := c.o.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
	return nil
}

func (c *Client) newOBS() (*uploader.Client, error) {
	opts := []uploader.ClientOption{
		uploader.WithEndpoint(c.o.obs), uploader.WithRegion(c.o.region), uploader.WithTransport(c.o.transport),
		uploader.WithCredentials(c.keys),
	}
	if c.o.stall > 0 {
		opts = append(opts, uploader.WithStallTimeout(c.o.stall))
	}
	if c.o.retryBudget > 0 {
		opts = append(opts, uploader.WithRetryTime(c.o.retryBudget))
	}
	if c.o.userAgent != "" {
		opts = append(opts, uploader.WithUserAgent(c.o.userAgent))
	}
	if c.o.pathStyle != nil {
		opts = append(opts, uploader.WithPathStyle(*c.o.pathStyle))
	}
	return uploader.NewClient(opts...)
}

// keys are credentials for object storage.
func (c *Client) keys(ctx context.Context) (Credentials, error) {
	creds, err := c.creds.Credentials(ctx)
	if err == nil && !creds.HasKeys() {
		err = pkg.Errorf("%w for object storage: it takes an access key and a secret key, not a token", ErrNoCredentials)
	}
	return creds, err
}

// credentials are those for the image service.
func (c *Client) credentials(ctx context.Context) (Credentials, error) {
	creds, err := c.creds.Credentials(ctx)
	if err == nil {
		err = checkCredentials(creds)
	}
	return creds, err
}

// knownProject is the project id without asking anybody for it.
func (c *Client) knownProject(creds Credentials) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.project == "" {
		return creds.ProjectID
	}
	return c.project
}

// ProjectID is the project in which the client works: that of [WithProjectID],
// of the credentials, or the one that has the region's name.
func (c *Client) ProjectID(ctx context.Context) (string, error) {
	creds, err := c.creds.Credentials(ctx)
	if err != nil {
		return "", pkg.Errorf("project: %w", err)
	}
	if id := c.knownProject(creds); id != "" {
		return id, nil
	}
	var answer struct {
		Projects []struct{ ID, Name string } `json:"projects"`
	}
	if err := c.get(ctx, "project", c.o.iam, "/v3/projects", url.Values{"name": {c.o.region}}, &answer); err != nil {
		return "", err
	}
	for _, p := range answer.Projects {
		if p.Name == c.o.region && p.ID != "" {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.project = p.ID
			return p.ID, nil
		}
	}
	return "", pkg.Errorf("project: %w: no project is named %q", ErrNotFound, c.o.region)
}

func retryAttrs(r cloud.Retry) []slog.Attr {
	attrs := []slog.Attr{slog.String("op", r.Op), slog.Int("attempt", r.Attempt), slog.Duration("wait", r.Wait), slog.String("reason", r.Reason.Error())}
	if r.Part > 0 {
		attrs = append(attrs, slog.Int("part", int(r.Part)))
	}
	return attrs
}

// cloudBudget is a retry budget: cloud.NoLimit leaves the end to the context.
type cloudBudget = time.Duration
