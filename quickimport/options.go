package quickimport

import (
	"crypto/x509"
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
	domain                       string
	limits                       Limits
	credentials                  CredentialsProvider
	transport                    http.RoundTripper
	rootCAs                      *x509.CertPool
	pathStyle                    *bool // nil: by the endpoint's host
	stall                        time.Duration
	retryBudget                  time.Duration // 0: the default
	userAgent                    string
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

// WithDomain sets the domain of the cloud's endpoints: ims.{region}.{domain} and
// so on. Default: that of the region ([RegionDomain]).
func WithDomain(domain string) Option {
	return func(o *options) error {
		if u, err := url.Parse("https://" + domain); err != nil || domain == "" || u.Host != domain || strings.HasPrefix(domain, ".") {
			return pkg.Errorf("domain %q: want a domain such as myhuaweicloud.com", domain)
		}
		o.domain = domain
		return nil
	}
}

// WithIMSEndpoint sets the image service's URL. Default https://ims.{region}.{domain}.
func WithIMSEndpoint(u string) Option {
	return func(o *options) error { return setURL(&o.ims, "image service", u) }
}

// WithOBSEndpoint sets the object storage's URL. Default https://obs.{region}.{domain}.
func WithOBSEndpoint(u string) Option {
	return func(o *options) error { return setURL(&o.obs, "object storage", u) }
}

// WithIAMEndpoint sets the identity service's URL. Default https://iam.{region}.{domain}.
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

// WithTransport sets the transport of all requests, for instance with a proxy of
// its own. It excludes [WithRootCAs]. Default: HTTP/1.1 with the proxy of the
// environment and a connection for every part in flight.
func WithTransport(t http.RoundTripper) Option {
	return func(o *options) error { o.transport = t; return nil }
}

// WithRootCAs sets the certificate authorities to trust. Default: the system's.
func WithRootCAs(pool *x509.CertPool) Option {
	return func(o *options) error { o.rootCAs = pool; return nil }
}

// WithPathStyle sets whether buckets are addressed by path instead of by host
// name. Default: by path if the endpoint's host is an IP address or has no dot.
func WithPathStyle(on bool) Option {
	return func(o *options) error { o.pathStyle = &on; return nil }
}

// WithStallTimeout sets how long a request may move (almost) no byte before it
// fails and is retried, 1 s to 1 h. Default 60 s.
func WithStallTimeout(d time.Duration) Option {
	return func(o *options) error {
		if d < time.Second || d > time.Hour {
			return pkg.Errorf("stall timeout %v: want 1s to 1h", d)
		}
		o.stall = d
		return nil
	}
}

// WithRetryBudget sets for how long a failing request that may be repeated is
// repeated, counted from its first failure, 0 to 24 h. Once the service was asked
// for an image, the import waits as long as its context lets it. Default 10 min, but
// 30 s while connections are refused and no service has ever answered.
func WithRetryBudget(d time.Duration) Option {
	return func(o *options) error {
		if d < 0 || d > 24*time.Hour {
			return pkg.Errorf("retry budget %v: want 0 to 24h", d)
		}
		o.retryBudget = max(d, 1) // 0 is the default of what is below
		return nil
	}
}

// WithUserAgent sets the User-Agent of all requests. Default: the SDK's.
func WithUserAgent(s string) Option {
	return func(o *options) error { o.userAgent = s; return nil }
}

// WithLogger sets a logger for what is retried or cleaned up. Its calls carry the
// context of the import. Default: none.
func WithLogger(l *slog.Logger) Option { return func(o *options) error { o.logger = l; return nil } }

// WithStateDir makes imports durable: the stage that an import has reached is
// saved in this directory (created with mode 0700 if missing; no secrets), and the
// same import resumes if it is run again after its process died at any point. A
// failed upload then keeps its parts. Default: none.
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

// WithPolling sets the first and the longest pause between two polls of a job.
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
			return nil, pkg.Errorf("%w", err)
		}
	}
	if o.region == "" {
		return nil, pkg.Errorf("no region: use WithRegion")
	}
	if o.credentials == nil {
		return nil, pkg.Errorf("%w: use WithCredentials", ErrNoCredentials)
	}
	if o.logger == nil {
		o.logger = slog.New(slog.DiscardHandler)
	}
	if o.transport != nil && o.rootCAs != nil {
		return nil, pkg.Errorf("WithRootCAs has no effect with WithTransport: set them in the transport")
	}
	if o.transport == nil {
		o.transport = cloud.NewTransport(cloud.TransportConfig{RootCAs: o.rootCAs})
	}
	o.setEndpoints()
	return o, nil
}
