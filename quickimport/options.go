package quickimport

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fastimage/fastimage/internal/cloud"
	"github.com/fastimage/fastimage/uploader"
)

// An Option configures a [Client]: what all its imports share. What belongs to
// one import is an [ImportOption].
type Option func(*options) error

type options struct {
	region, projectID            string
	ims, obs, iam                string
	credentials                  CredentialsProvider
	transport                    http.RoundTripper
	logger                       *slog.Logger
	apiVersion                   string
	store                        uploader.Store
	settle                       time.Duration
	pollMin, pollMax, apiTimeout time.Duration
}

// WithRegion sets the region, for instance cn-north-4. The endpoints follow
// from it where they are not set. Required.
func WithRegion(region string) Option {
	return func(o *options) error {
		if strings.Trim(region, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || region == "" {
			return fmt.Errorf("region %q: want lower-case letters, digits and '-'", region)
		}
		o.region = region
		return nil
	}
}

// WithCredentials sets where credentials come from. Required.
func WithCredentials(p CredentialsProvider) Option {
	return func(o *options) error { o.credentials = p; return nil }
}

// WithProjectID sets the project. Default: that of the credentials, else it is
// looked up by the region's name (GET /v3/projects).
func WithProjectID(id string) Option { return func(o *options) error { o.projectID = id; return nil } }

// WithIMSEndpoint sets the image service's URL. Default https://ims.{region}.myhuaweicloud.com.
func WithIMSEndpoint(u string) Option {
	return func(o *options) error { return setURL(&o.ims, "image service", u) }
}

// WithOBSEndpoint sets the object storage's URL. Default https://obs.{region}.myhuaweicloud.com.
func WithOBSEndpoint(u string) Option {
	return func(o *options) error { return setURL(&o.obs, "object storage", u) }
}

// WithIAMEndpoint sets the identity service's URL. Default https://iam.{region}.myhuaweicloud.com.
func WithIAMEndpoint(u string) Option {
	return func(o *options) error { return setURL(&o.iam, "identity", u) }
}

func setURL(to *string, what, raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.User != nil {
		return fmt.Errorf("%s endpoint: want http(s)://HOST[:PORT]", what)
	}
	*to = strings.TrimSuffix(raw, "/")
	return nil
}

// WithTransport sets the transport of all requests: proxies and CA bundles go
// in here. Default: HTTP/1.1 with the proxy of the environment and a
// connection for every part in flight.
func WithTransport(t http.RoundTripper) Option {
	return func(o *options) error { o.transport = t; return nil }
}

// WithLogger sets a logger for what is retried or cleaned up. Default: none.
func WithLogger(l *slog.Logger) Option { return func(o *options) error { o.logger = l; return nil } }

// WithStateDir makes imports durable: what an import has reached is kept in
// this directory (made with mode 0700 if missing; no secrets), and the same
// import, started again after its process died at any point, goes on where it
// was. A failed upload then keeps its parts. Default: none.
func WithStateDir(dir string) Option {
	return func(o *options) error {
		store, err := uploader.NewFileStore(dir)
		if err != nil {
			return err
		}
		o.store = store
		return nil
	}
}

// WithStore is [WithStateDir] for state that is kept elsewhere.
func WithStore(s uploader.Store) Option { return func(o *options) error { o.store = s; return nil } }

// WithSettleTime sets how long an image of the name is looked for when the
// answer to the create call was lost, before that is an error that matches
// [ErrUncertain]. 0 to 1 h, default 1 min.
func WithSettleTime(d time.Duration) Option {
	return func(o *options) error {
		if d < 0 || d > time.Hour {
			return fmt.Errorf("settle time %v: want 0 to 1h", d)
		}
		o.settle = d
		return nil
	}
}

// WithAPIVersion sets the version of the create call, "v2" (the default) or "v2.1".
func WithAPIVersion(v string) Option {
	return func(o *options) error {
		if v != "v2" && v != "v2.1" {
			return fmt.Errorf("API version %q: want v2 or v2.1", v)
		}
		o.apiVersion = v
		return nil
	}
}

// WithPolling sets the first and the longest pause between two looks at a job.
// Default 250 ms and 30 s; the pause grows by half each time.
func WithPolling(first, longest time.Duration) Option {
	return func(o *options) error {
		if first <= 0 || longest < first {
			return fmt.Errorf("polling from %v to %v: want 0 < first <= longest", first, longest)
		}
		o.pollMin, o.pollMax = first, longest
		return nil
	}
}

func newOptions(opts []Option) (*options, error) {
	o := &options{
		apiVersion: "v2", pollMin: 250 * time.Millisecond, pollMax: 30 * time.Second, apiTimeout: 30 * time.Second, settle: time.Minute,
		logger: slog.New(slog.DiscardHandler),
	}
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, fmt.Errorf("quickimport: %w", err)
		}
	}
	if o.region == "" {
		return nil, fmt.Errorf("quickimport: no region: use WithRegion")
	}
	if o.credentials == nil {
		return nil, fmt.Errorf("quickimport: %w: use WithCredentials", ErrNoCredentials)
	}
	if o.logger == nil {
		o.logger = slog.New(slog.DiscardHandler)
	}
	if o.transport == nil {
		o.transport = cloud.NewTransport(cloud.TransportConfig{})
	}
	for service, to := range map[string]*string{"ims": &o.ims, "obs": &o.obs, "iam": &o.iam} {
		if *to == "" {
			*to = "https://" + service + "." + o.region + ".myhuaweicloud.com"
		}
	}
	return o, nil
}
