package quickimport_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
	"github.com/fastimage/fastimage/uploader"
)

// findings are what a report says of each check.
func findings(r *quickimport.DoctorReport) map[string]quickimport.Finding {
	out := map[string]quickimport.Finding{}
	for _, c := range r.Checks {
		out[c.Name] = c.Finding
	}
	return out
}

// The doctor finds what each variant of a store is, and an import copes with it.
func TestDoctorFindsTheVariants(t *testing.T) {
	const holds, differs, fails = quickimport.FindingOK, quickimport.FindingWarning, quickimport.FindingFailed
	tests := map[string]struct {
		variants []imstest.Variant
		want     map[string]quickimport.Finding // those that do not hold
		imports  bool
	}{
		"as documented":      {nil, nil, true},
		"no copy":            {[]imstest.Variant{imstest.NoCopy}, map[string]quickimport.Finding{"copying of parts": differs}, true},
		"digest passed over": {[]imstest.Variant{imstest.IgnoreMD5}, map[string]quickimport.Finding{"wrong content-md5": differs}, true},
		"encrypted":          {[]imstest.Variant{imstest.Encrypted}, map[string]quickimport.Finding{"default encryption": differs, "etag": differs}, true},
		"no ranges":          {[]imstest.Variant{imstest.NoRanges}, map[string]quickimport.Finding{"range reads": fails, "import": fails, "lazy loading": ""}, false},
		"no lazy loading":    {[]imstest.Variant{imstest.NoLazyLoading}, map[string]quickimport.Finding{"lazy loading": differs}, true},
		"several":            {[]imstest.Variant{imstest.NoCopy, imstest.Encrypted, imstest.IgnoreMD5}, map[string]quickimport.Finding{"copying of parts": differs, "wrong content-md5": differs, "default encryption": differs, "etag": differs}, true},
	}
	for name, tt := range tests {
		for _, format := range []quickimport.Format{quickimport.FormatZVHD2, quickimport.FormatRaw} {
			if !tt.imports && format == quickimport.FormatRaw {
				continue // the uploader repeats its reads for half a minute before it gives up
			}
			t.Run(name+"/"+string(format), func(t *testing.T) {
				t.Parallel()
				srv := imstest.NewServer(t, imstest.WithVariants(tt.variants...))
				c := cloudClient(t, srv, quickimport.WithFormat(format))
				report, err := c.Doctor(t.Context(), srv.Bucket(), quickimport.WithTrialImport(c.opts...))
				require.NoError(t, err)
				want := map[string]quickimport.Finding{}
				for _, check := range []string{"project", "signature", "quota", "bucket", "region", "bucket class", "put", "object class", "default encryption", "etag",
					"wrong content-md5", "copying of parts", "multipart upload", "range reads", "import", "lazy loading"} {
					want[check] = holds
				}
				for check, f := range tt.want {
					want[check] = f
					if f == "" {
						delete(want, check)
					}
				}
				require.Equal(t, want, findings(report), "%+v", report.Checks)
				require.Equal(t, tt.imports, report.OK())
				for _, check := range report.Checks {
					require.NotEmpty(t, check.Detail)
					require.True(t, check.Finding == holds || check.Consequence != "", "%+v", check)
				}
				nothingLeft(t, srv)

				if !tt.imports { // as the doctor advises
					c = cloudClient(t, srv, quickimport.WithFormat(format), quickimport.WithRemoteVerification(false))
				}
				res, err := c.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
				require.NoError(t, err)
				require.Equal(t, diskHash(t, open(t, realDisk)), objectDisk(t, srv, res.Key))
				require.Len(t, srv.Images(), 1)
			})
		}
	}
}

// Where imports cannot work the doctor says why, and is no error itself.
func TestDoctorFindsWhatFails(t *testing.T) {
	put := imstest.Fault{Service: imstest.OBS, Method: http.MethodPut, Status: 403, Code: "AccessDenied", Count: -1}
	all := imstest.Fault{Service: imstest.OBS, Status: 403, Code: "AccessDenied", Count: -1}
	ims := imstest.Fault{Service: imstest.IMS, Status: 403, Code: "IMG.0013", Count: -1}
	tests := map[string]struct {
		bucket string
		fault  *imstest.Fault
		opts   []any
		quota  int
		check  string
	}{
		"uploads refused":      {"images", &put, nil, 9, "put"},
		"bucket refused":       {"images", &all, nil, 9, "bucket"},
		"bucket missing":       {"not-there", nil, nil, 9, "bucket"},
		"bucket's name":        {"Not A Bucket", nil, nil, 9, "bucket"},
		"bucket elsewhere":     {"elsewhere", nil, nil, 9, "region"},
		"bucket of a class":    {"coldstore", nil, nil, 9, "bucket class"},
		"quota used up":        {"images", nil, nil, 0, "quota"},
		"image service denied": {"images", &ims, nil, 9, "signature"},
		"no credentials":       {"images", nil, []any{quickimport.WithCredentials(quickimport.StaticCredentials(quickimport.Credentials{}))}, 9, "project"},
		"wrong secret": {"images", nil, []any{quickimport.WithCredentials(quickimport.StaticCredentials(quickimport.Credentials{
			AccessKey: imstest.DefaultAccessKey, SecretKey: "wrong"}))}, 9, "bucket"},
		"a token alone": {"images", nil, []any{quickimport.WithCredentials(quickimport.StaticCredentials(quickimport.Credentials{Token: imstest.DefaultToken}))}, 9, "bucket"},
		"provider fails": {"images", nil, []any{quickimport.WithCredentials(quickimport.CredentialsFunc(func(context.Context) (quickimport.Credentials, error) {
			return quickimport.Credentials{}, quickimport.ErrNoCredentials
		}))}, 9, "credentials"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := imstest.NewServer(t, imstest.WithQuota(tt.quota))
			require.NoError(t, srv.MakeBucket("elsewhere", "other-region-1", ""))
			require.NoError(t, srv.MakeBucket("coldstore", "", "COLD"))
			if tt.fault != nil {
				srv.Fail(*tt.fault)
			}
			report, err := cloudClient(t, srv, tt.opts...).Doctor(t.Context(), tt.bucket, quickimport.WithTrialImport())
			require.NoError(t, err)
			require.Equal(t, quickimport.FindingFailed, findings(report)[tt.check], "%+v", report.Checks)
			require.False(t, report.OK())
			if name == "wrong secret" {
				for _, check := range report.Checks {
					if check.Name == "bucket" {
						require.ErrorIs(t, check.Err, uploader.ErrCredentials)
					}
				}
			}
			for _, check := range report.Checks {
				require.True(t, check.Finding == quickimport.FindingOK || check.Consequence != "" || check.Err != nil, "%+v", check)
			}
			for _, bucket := range []string{"images", "elsewhere", "coldstore"} {
				require.Empty(t, srv.Objects(bucket))
			}
			nothingLeft(t, srv)
		})
	}
}

// The doctor leaves nothing behind, at whatever request it is cancelled.
func TestDoctorCancelled(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	_, err := cloudClient(t, srv).Doctor(t.Context(), srv.Bucket(), quickimport.WithTrialImport())
	require.NoError(t, err)
	requests := len(srv.Requests())
	require.Greater(t, requests, 30)
	for n := 1; n < requests; n += 8 {
		srv := imstest.NewServer(t)
		ctx, cancel := context.WithCancel(t.Context())
		var seen atomic.Int32
		c := cloudClient(t, srv, quickimport.WithConcurrency(1), quickimport.WithTransport(roundTrip(func(r *http.Request) (*http.Response, error) {
			resp, err := http.DefaultTransport.RoundTrip(r)
			if seen.Add(1) == int32(n) {
				cancel()
			}
			return resp, err
		})))
		report, err := c.Doctor(ctx, srv.Bucket(), quickimport.WithTrialImport(c.opts...))
		if ctx.Err() != nil && err != nil {
			require.ErrorIs(t, err, context.Canceled)
		}
		require.Equal(t, srv.Bucket(), report.Bucket)
		nothingLeft(t, srv)
		cancel()
	}
}

// A create call whose answer is lost leaves no image behind either.
func TestDoctorAfterALostAnswer(t *testing.T) {
	srv := imstest.NewServer(t)
	srv.Fail(imstest.Fault{Service: imstest.IMS, Method: http.MethodPost, Drop: true})
	report, err := cloudClient(t, srv).Doctor(t.Context(), srv.Bucket(), quickimport.WithTrialImport())
	require.NoError(t, err)
	require.Equal(t, quickimport.FindingOK, findings(report)["import"])
	nothingLeft(t, srv)
	require.Len(t, srv.Jobs(), 1)
}

// A bucket that cannot be reached fails.
func TestDoctorOfAnUnreachableBucket(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	c := cloudClient(t, srv, quickimport.WithOBSEndpoint("http://127.0.0.1:1"), quickimport.WithRetryBudget(0))
	report, err := c.Doctor(t.Context(), srv.Bucket())
	require.NoError(t, err)
	require.Equal(t, quickimport.FindingFailed, findings(report)["bucket"])
	require.False(t, report.OK())
}
