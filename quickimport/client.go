package quickimport

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"

	"github.com/fastimage/fastimage/internal/cloud"
	"github.com/fastimage/fastimage/uploader"
)

// Client imports images into one region. It is made by [New] and safe for
// concurrent use.
type Client struct {
	o     *options
	http  *http.Client
	obs   *uploader.Client
	creds *cloud.Cache

	mu      sync.Mutex
	project string // guarded by mu: the project id once it was looked up
}

// New makes a client. Nothing is sent before the first call.
func New(opts ...Option) (*Client, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	c := &Client{o: o, project: o.projectID, creds: cloud.NewCache(o.credentials), http: &http.Client{
		Transport: o.transport,
		// A redirect would carry the token to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if c.obs, err = c.newOBS(); err != nil {
		return nil, fmt.Errorf("quickimport: %w", err)
	}
	return c, nil
}

// Close releases the client's idle connections. Imports that are running are
// not ended.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

func (c *Client) newOBS() (*uploader.Client, error) {
	return uploader.NewClient(
		uploader.WithEndpoint(c.o.obs),
		uploader.WithRegion(c.o.region),
		uploader.WithTransport(c.o.transport),
		uploader.WithCredentials(func(ctx context.Context) (uploader.Credentials, error) {
			creds, err := c.creds.Credentials(ctx)
			if err == nil && (creds.AccessKey == "" || creds.SecretKey == "") {
				err = fmt.Errorf("%w for object storage: it takes an access key and a secret key, not a token", ErrNoCredentials)
			}
			return uploader.Credentials{AccessKey: creds.AccessKey, SecretKey: creds.SecretKey,
				SecurityToken: creds.SecurityToken, Expires: creds.Expires}, err
		}),
	)
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
		return "", fmt.Errorf("quickimport: project: %w", err)
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
	return "", fmt.Errorf("quickimport: project: %w: no project is named %q; give its id with WithProjectID", ErrNotFound, c.o.region)
}

func logAttrs(op string, try int, err error) []slog.Attr {
	return []slog.Attr{slog.String("op", op), slog.Int("attempt", try), slog.String("reason", err.Error())}
}
