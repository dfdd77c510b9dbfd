package uploader

import (
	"context"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/fastimage/fastimage/internal/cloud"
)

// Credentials are an access key, its secret key and, for temporary keys, the
// security token and when they expire. Token and ProjectID are not used here.
type Credentials = cloud.Credentials

// CredentialsFunc returns credentials. It is asked once, and again five minutes
// before they expire or when the service refuses them. While the ones it
// returned are valid, its errors do no harm: it is asked again later. It must be
// safe for concurrent use.
type CredentialsFunc = cloud.CredentialsFunc

// Client talks to one endpoint. It is safe for concurrent use.
type Client struct {
	api      api
	creds    *cloud.Cache
	clock    *cloud.Clock
	endpoint *url.URL
	region   string
	retry    cloud.Policy
	path     bool
	stall    time.Duration
}

// Endpoint returns the URL of the service.
func (c *Client) Endpoint() string { return c.endpoint.String() }

// Region returns the region that requests are signed for.
func (c *Client) Region() string { return c.region }

// PathStyle reports whether the bucket is named in the path and not in the host.
func (c *Client) PathStyle() bool { return c.path }

// NewClient returns a client for OBS or another S3 service. Everything comes
// from the options: environment variables and configuration files of the AWS
// SDK are never read.
func NewClient(opts ...ClientOption) (*Client, error) {
	o := defaultClientOptions()
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	c := &Client{
		creds: cloud.NewCache(o.credentials), clock: new(cloud.Clock),
		endpoint: o.endpoint, region: o.region, retry: o.retry,
		path: o.pathStyle(), stall: o.stall,
	}
	c.api = s3.New(c.sdkOptions(o))
	return c, nil
}

// sdkOptions sets the SDK up for OBS, see the package documentation.
func (c *Client) sdkOptions(o *clientOptions) s3.Options {
	// No timeout for a whole request: it would end slow but healthy parts.
	hc := &cloud.Client{Transport: o.transport, Stall: o.stall, UserAgent: o.userAgent, Clock: c.clock}
	return s3.Options{
		BaseEndpoint:                 aws.String(o.endpoint.String()),
		Region:                       o.region,
		Credentials:                  aws.CredentialsProviderFunc(signingKeys),
		UsePathStyle:                 c.path,
		HTTPClient:                   &doer{hc},
		Retryer:                      aws.NopRetryer{}, // one budget, ours
		RequestChecksumCalculation:   aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation:   aws.ResponseChecksumValidationWhenRequired,
		ContinueHeaderThresholdBytes: -1,
		DisableS3ExpressSessionAuth:  aws.Bool(true),
		DisableLogOutputChecksumValidationSkipped: true,
		Logger:     logging.Nop{},
		APIOptions: c.apiOptions(o),
	}
}

func (c *Client) apiOptions(o *clientOptions) []func(*middleware.Stack) error {
	opts := []func(*middleware.Stack) error{removeXID}
	if o.unsigned {
		opts = append(opts, unsignedPayload)
	}
	return opts
}

// unsignedPayload spares the SHA-256 of bodies, here and on the service: their
// Content-MD5 is among the signed headers, so that the signature binds the body
// all the same. It is a seventh of what 1 GiB over loopback takes both ends.
func unsignedPayload(s *middleware.Stack) error {
	switch s.ID() {
	case "UploadPart", "PutObject":
		return v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware(s)
	}
	return nil
}

// removeXID takes the x-id parameter off, which the SDK appends for its own
// statistics and OBS does not know, before the request is signed.
func removeXID(s *middleware.Stack) error {
	return s.Build.Add(middleware.BuildMiddlewareFunc("RemoveXID",
		func(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (
			middleware.BuildOutput, middleware.Metadata, error,
		) {
			if req, ok := in.Request.(*smithyhttp.Request); ok {
				req.URL.RawQuery = withoutXID(req.URL.RawQuery)
			}
			return next.HandleBuild(ctx, in)
		}), middleware.After)
}

// withoutXID works on the text, as the order and form of the other parameters
// must stay.
func withoutXID(query string) string {
	parts := strings.Split(query, "&")
	kept := parts[:0]
	for _, p := range parts {
		if p != "x-id" && !strings.HasPrefix(p, "x-id=") {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, "&")
}

// signingKeys gives the SDK the keys of the attempt under way (see do).
func signingKeys(ctx context.Context) (aws.Credentials, error) {
	keys := keysFrom(ctx)
	return aws.Credentials{
		AccessKeyID: keys.AccessKey, SecretAccessKey: keys.SecretKey, SessionToken: keys.SecurityToken, Source: "uploader",
	}, nil
}

// pathStyle: OBS refuses path style on its domain names; IP addresses, localhost
// and other names without a dot have no room for a bucket in the host name.
func (o *clientOptions) pathStyle() bool {
	if o.path != nil {
		return *o.path
	}
	host := o.endpoint.Hostname()
	return net.ParseIP(host) != nil || !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost")
}

// check completes the options and finds contradictions.
func (o *clientOptions) check() error {
	if o.credentials == nil {
		return pkg.Errorf("%w: no credentials: use WithCredentials", ErrConfig)
	}
	if o.endpoint == nil {
		if o.region == "" {
			return pkg.Errorf("%w: neither endpoint nor region is set", ErrConfig)
		}
		o.endpoint = &url.URL{Scheme: "https", Host: "obs." + o.region + ".myhuaweicloud.com"}
	}
	if o.region == "" {
		if o.region = regionOf(o.endpoint.Hostname()); o.region == "" {
			return pkg.Errorf("%w: no region: use WithRegion", ErrConfig)
		}
	}
	if o.transport != nil && o.roots != nil {
		return pkg.Errorf("%w: WithTransport excludes WithRootCAs", ErrConfig)
	}
	if o.transport == nil {
		o.transport = cloud.NewTransport(cloud.TransportConfig{RootCAs: o.roots})
	}
	return nil
}

// regionOf reads the region out of obs.REGION.domain.
func regionOf(host string) string {
	labels := strings.Split(host, ".")
	if len(labels) >= 4 && labels[0] == "obs" && net.ParseIP(host) == nil {
		return labels[1]
	}
	return ""
}
