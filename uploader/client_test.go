package uploader_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/uploader"
)

// recorder answers every request with success and keeps it.
type recorder struct{ reqs []*http.Request }

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.reqs = append(r.reqs, req)
	return &http.Response{StatusCode: 200, Header: http.Header{"Etag": {`"5d41402abc4b2a76b9719d911017c592"`}},
		Body: http.NoBody, Request: req}, nil
}

func TestRequestForm(t *testing.T) {
	// None of these may matter.
	for _, k := range []string{"AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CONFIG_FILE", "AWS_ENDPOINT_URL_S3"} {
		t.Setenv(k, "/nonexistent")
	}
	const unsigned = "UNSIGNED-PAYLOAD"
	for _, tc := range []struct{ endpoint, host, path, sha string }{
		{"https://obs.cn-north-4.myhuaweicloud.com", "images.obs.cn-north-4.myhuaweicloud.com", "/a/k", unsigned},
		{"", "images.obs.cn-north-4.myhuaweicloud.com", "/a/k", unsigned},
		{"http://127.0.0.1:9000", "127.0.0.1:9000", "/images/a/k", unsigned},
		{"https://[::1]:9000", "[::1]:9000", "/images/a/k", unsigned},
		{"http://localhost:9000", "localhost:9000", "/images/a/k", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
	} {
		t.Run(tc.endpoint, func(t *testing.T) {
			rec := &recorder{}
			opts := []uploader.ClientOption{uploader.WithRegion("cn-north-4"),
				uploader.WithStaticCredentials("AK", "SK", "TOKEN"), uploader.WithTransport(rec),
				uploader.WithUnsignedPayload(tc.sha == unsigned)}
			if tc.endpoint != "" {
				opts = append(opts, uploader.WithEndpoint(tc.endpoint))
			}
			c, err := uploader.NewClient(opts...)
			require.NoError(t, err)
			_, err = c.PutObject(context.Background(), "images", "a/k", []byte("hello"))
			require.NoError(t, err)
			require.Len(t, rec.reqs, 1)
			r := rec.reqs[0]
			assert.Equal(t, tc.host, r.URL.Host)
			assert.Equal(t, tc.path, r.URL.Path)
			assert.Empty(t, r.URL.RawQuery, "no x-id")
			assert.Equal(t, "XUFAKrxLKna5cZ2REBfFkg==", r.Header.Get("Content-Md5"))
			assert.Equal(t, tc.sha, r.Header.Get("X-Amz-Content-Sha256"))
			assert.Equal(t, "TOKEN", r.Header.Get("X-Amz-Security-Token"))
			assert.Contains(t, r.Header.Get("Authorization"), "/cn-north-4/s3/")
			assert.Regexp(t, "SignedHeaders=[^,]*content-md5", r.Header.Get("Authorization"))
			for k := range r.Header {
				assert.False(t, strings.Contains(strings.ToLower(k), "checksum") || k == "X-Amz-Trailer", k)
			}
			assert.Empty(t, r.Header.Get("Content-Encoding"))
			assert.Empty(t, r.Header.Get("Expect"))
		})
	}
}

// TestPathStyle: what a caller chooses wins over what the host's name suggests.
func TestPathStyle(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{true, false} {
		rec := &recorder{}
		c, err := uploader.NewClient(uploader.WithRegion("r"), uploader.WithEndpoint("https://s3.example.com"),
			uploader.WithStaticCredentials("AK", "SK", ""), uploader.WithTransport(rec), uploader.WithPathStyle(on))
		require.NoError(t, err)
		assert.Equal(t, on, c.PathStyle())
		_, err = c.PutObject(context.Background(), "images", "k", []byte("hello"))
		require.NoError(t, err)
		want := map[bool]string{true: "https://s3.example.com/images/k", false: "https://images.s3.example.com/k"}
		assert.Equal(t, want[on], rec.reqs[0].URL.String())
	}
}

// TestRootCAs: a service is trusted with the authorities that are given, and
// with no others.
func TestRootCAs(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("ETag", "x") }))
	defer srv.Close()
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of the handshake that fails
	ours := x509.NewCertPool()
	ours.AddCert(srv.Certificate())
	for _, pool := range []*x509.CertPool{ours, x509.NewCertPool()} {
		c, err := uploader.NewClient(uploader.WithRegion("r"), uploader.WithEndpoint(srv.URL), uploader.WithRootCAs(pool),
			uploader.WithStaticCredentials("AK", "SK", ""), uploader.WithRetries(1, time.Millisecond, time.Millisecond))
		require.NoError(t, err)
		_, err = c.HeadObject(context.Background(), "images", "k")
		if pool == ours {
			require.NoError(t, err)
		} else {
			var unknown x509.UnknownAuthorityError
			require.ErrorAs(t, err, &unknown)
		}
	}
}

func TestClientOptions(t *testing.T) {
	t.Parallel()
	creds := uploader.WithStaticCredentials("AK", "SK", "")
	for name, opts := range map[string][]uploader.ClientOption{
		"nothing":        nil,
		"no region":      {creds, uploader.WithEndpoint("http://127.0.0.1")},
		"no endpoint":    {creds},
		"no credentials": {uploader.WithRegion("r")},
		"endpoint path":  {creds, uploader.WithRegion("r"), uploader.WithEndpoint("https://h/bucket")},
		"endpoint user":  {creds, uploader.WithRegion("r"), uploader.WithEndpoint("https://u:p@h")},
		"scheme":         {creds, uploader.WithRegion("r"), uploader.WithEndpoint("ftp://h")},
		"stall":          {creds, uploader.WithRegion("r"), uploader.WithStallTimeout(0)},
		"retries":        {creds, uploader.WithRegion("r"), uploader.WithRetries(0, 1, 1)},
		"conflict":       {creds, uploader.WithRegion("r"), uploader.WithRootCAs(x509.NewCertPool()), uploader.WithTransport(&recorder{})},
	} {
		_, err := uploader.NewClient(opts...)
		require.ErrorIs(t, err, uploader.ErrConfig, name)
	}
	c, err := uploader.NewClient(creds, uploader.WithEndpoint("obs.eu-de.otc.t-systems.com"))
	require.NoError(t, err)
	assert.Equal(t, "eu-de", c.Region())
	assert.False(t, c.PathStyle())
	keys := uploader.Credentials{AccessKey: "AK", SecretKey: "hidden", SecurityToken: "hidden"}
	var text bytes.Buffer
	slog.New(slog.NewJSONHandler(&text, nil)).Info("keys", "keys", keys, "inside", struct{ C *uploader.Credentials }{&keys})
	slog.New(slog.NewTextHandler(&text, nil)).Info("keys", "keys", keys)
	text.WriteString(fmt.Sprintf("%v %+v %#v %s %q %d", keys, keys, keys, keys, keys, keys))
	assert.Contains(t, text.String(), "access key (redacted)")
	assert.NotContains(t, text.String(), "hidden")
}

// TestCredentialsAgain: keys that end in the middle are asked for again.
func TestCredentialsAgain(t *testing.T) {
	t.Parallel()
	f, s := newFake(t)
	var asked atomic.Int64
	c, err := uploader.NewClient(uploader.WithEndpoint(s.endpoint), uploader.WithRegion(s.region),
		uploader.WithCredentials(func(context.Context) (uploader.Credentials, error) {
			return uploader.Credentials{AccessKey: fmt.Sprintf("AK%d", asked.Add(1)), SecretKey: "SK"}, nil
		}))
	require.NoError(t, err)
	puts := 0
	f.refuse = func(r *http.Request) (int, string) {
		if puts++; puts > 2 && strings.Contains(r.Header.Get("Authorization"), "AK1/") {
			return 403, "ExpiredToken"
		}
		return 0, ""
	}
	for range 4 {
		_, err = c.PutObject(context.Background(), "images", "k", []byte("x"))
		require.NoError(t, err)
	}
	assert.EqualValues(t, 2, asked.Load())

	near, err := uploader.NewClient(uploader.WithEndpoint(s.endpoint), uploader.WithRegion(s.region),
		uploader.WithCredentials(func(context.Context) (uploader.Credentials, error) {
			asked.Add(1)
			return uploader.Credentials{AccessKey: "AK9", SecretKey: "SK", Expires: time.Now().Add(time.Minute)}, nil
		}))
	require.NoError(t, err)
	asked.Store(0)
	for range 2 {
		_, err = near.PutObject(context.Background(), "images", "k", []byte("x"))
		require.NoError(t, err)
	}
	assert.EqualValues(t, 2, asked.Load(), "within the window they are asked for each time")

	boom := errors.New("metadata service is down")
	none, err := uploader.NewClient(uploader.WithEndpoint(s.endpoint), uploader.WithRegion(s.region),
		uploader.WithCredentials(func(context.Context) (uploader.Credentials, error) { return uploader.Credentials{}, boom }))
	require.NoError(t, err)
	_, err = none.PutObject(context.Background(), "images", "k", nil)
	require.ErrorIs(t, err, uploader.ErrCredentials)
	require.ErrorIs(t, err, boom)
}

func TestEncryptedBucket(t *testing.T) {
	t.Parallel()
	for _, silent := range []bool{false, true} {
		f, s := newFake(t)
		f.encrypt, f.silent = true, silent
		st, dir := fileStore(t)
		u := s.uploader(t, uploader.WithStore(st), uploader.WithConcurrency(1))
		src := &sparse{data: noise(1, 12*mib), size: 23 * mib, failAt: 11 * mib}
		_, err := u.UploadReaderAt(context.Background(), "images", "k", plain{src}, src.size)
		require.ErrorIs(t, err, errFail)
		src.failAt = 0
		res, err := u.UploadReaderAt(context.Background(), "images", "k", plain{src}, src.size)
		require.NoError(t, err)
		assert.True(t, res.Encrypted)
		assert.Equal(t, 2, res.ResumedParts, "known by the state, as the ETag does not tell")
		assert.True(t, bytes.Equal(src.bytes(), f.objects["k"]))
		assert.Len(t, f.objects, 1)
		requireEmptyDir(t, dir)
	}
}

// slowStore takes its time for each save.
type slowStore struct {
	uploader.Store
	saves atomic.Int64
}

func (s *slowStore) Save(ctx context.Context, name string, data []byte) error {
	s.saves.Add(1)
	time.Sleep(50 * time.Millisecond)
	return s.Store.Save(ctx, name, data)
}

// TestEncryptedSlowState: the state is not saved after each part where that takes
// long, and has all of them when the upload ends.
func TestEncryptedSlowState(t *testing.T) {
	t.Parallel()
	f, s := newFake(t)
	f.encrypt = true
	st, _ := fileStore(t)
	slow := &slowStore{Store: st}
	u := s.uploader(t, uploader.WithStore(slow), uploader.WithConcurrency(1))
	src := &sparse{data: noise(1, 80*mib), size: 80 * mib, failAt: 76 * mib}
	_, err := u.UploadReaderAt(context.Background(), "images", "k", plain{src}, src.size)
	require.ErrorIs(t, err, errFail)
	assert.Less(t, slow.saves.Load(), int64(10), "of 15 parts, at 20 ms each")
	src.failAt = 0
	res, err := u.UploadReaderAt(context.Background(), "images", "k", plain{src}, src.size)
	require.NoError(t, err)
	assert.Equal(t, 15, res.ResumedParts)
	assert.True(t, bytes.Equal(src.bytes(), f.objects["k"]))
}

// TestFinalETag: a store that joins the parts wrongly is found out.
func TestFinalETag(t *testing.T) {
	t.Parallel()
	f, s := newFake(t)
	f.refuse = func(r *http.Request) (int, string) {
		if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") {
			f.parts[1] = f.parts[1][:len(f.parts[1])-1]
		}
		return 0, ""
	}
	_, err := s.uploader(t).UploadReaderAt(context.Background(), "images", "k", bytes.NewReader(noise(1, 6*mib)), 6*mib)
	require.ErrorIs(t, err, uploader.ErrBadDigest)
	assert.Empty(t, f.objects, "what is damaged does not stay")
}

func TestWrongBucket(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, header, value string
		want                error
	}{
		{"region", "X-Amz-Bucket-Region", "eu-de", uploader.ErrWrongRegion},
		{"class", "X-Amz-Storage-Class", "GLACIER", uploader.ErrStorageClass},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, s := newFake(t)
			f.header = map[string]string{tc.header: tc.value, "X-Amz-Request-Id": "REQ-2"}
			_, err := s.uploader(t, uploader.WithBucketClass("STANDARD")).
				UploadReaderAt(context.Background(), "images", "k", bytes.NewReader(make([]byte, 10)), 10)
			require.ErrorIs(t, err, tc.want)
			var e *uploader.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, "REQ-2", e.RequestID)
			assert.Zero(t, f.sent, "before anything is sent")
		})
	}
}

func TestPermanent(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status int
		code   string
		want   error
		tries  int
	}{
		{401, "InvalidAccessKeyId", uploader.ErrCredentials, 2}, // the provider is asked once more
		{403, "AccessDenied", uploader.ErrAccessDenied, 1},
		{403, "SignatureDoesNotMatch", uploader.ErrCredentials, 1},
		{404, "NoSuchBucket", uploader.ErrNoSuchBucket, 1},
		{405, "MethodNotAllowed", nil, 1},
		{409, "OperationAborted", nil, 3},
		{409, "InvalidBucketState", nil, 1},
		{301, "PermanentRedirect", uploader.ErrWrongRegion, 1},
		{400, "InvalidArgument", nil, 1},
		{400, "RequestTimeout", nil, 3},
		{403, "RequestTimeTooSkewed", nil, 3},
		{400, "BadDigest", uploader.ErrBadDigest, 3},
		{500, "InternalError", nil, 3},
		{503, "SlowDown", nil, 3},
	} {
		t.Run(tc.code, func(t *testing.T) {
			f, s := newFake(t)
			f.refuse = func(*http.Request) (int, string) { return tc.status, tc.code }
			c := s.client(t, uploader.WithRetries(3, time.Millisecond, time.Millisecond))
			_, err := c.PutObject(context.Background(), "images", "k", []byte("x"))
			var e *uploader.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, tc.status, e.StatusCode)
			assert.Equal(t, tc.code, e.Code)
			assert.Equal(t, "REQ-1", e.RequestID)
			assert.Equal(t, tc.tries, len(f.reqs))
			if tc.want != nil {
				require.ErrorIs(t, err, tc.want)
			}
		})
	}
}

// TestStalled: no byte moves, and the attempt ends; a slow one that moves does not.
func TestStalled(t *testing.T) {
	t.Parallel()
	s := gateway(t)
	_, bad := newProxy(t, s, 1, faultStalled)
	c := bad.client(t, uploader.WithStallTimeout(50*time.Millisecond), uploader.WithRetries(2, time.Millisecond, time.Millisecond))
	_, err := c.PutObject(context.Background(), "images", "k", make([]byte, mib))
	require.ErrorIs(t, err, uploader.ErrStalled)
	_, slow := newProxy(t, s, 1, faultDrip)
	c = slow.client(t, uploader.WithStallTimeout(time.Second), uploader.WithRetries(1, time.Millisecond, time.Millisecond))
	_, err = c.PutObject(context.Background(), "images", "k", make([]byte, mib))
	require.NoError(t, err)
}

func TestPartSizeFor(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ size, want int64 }{
		{0, 5 * mib}, {1, 5 * mib}, {50000 * mib, 5 * mib}, {50000*mib + 1, 6 * mib},
		{1 << 40, 105 * mib}, {uploader.MaxObjectSize, 4654 * mib},
	} {
		ps := uploader.PartSizeFor(tc.size)
		assert.Equal(t, tc.want, ps, "size %d", tc.size)
		assert.LessOrEqual(t, (tc.size+ps-1)/ps, int64(uploader.MaxParts))
	}
}

// TestProbesCareless: a service that does not compare digests, and one that
// encrypts, are told apart from one that refuses.
func TestProbesCareless(t *testing.T) {
	t.Parallel()
	f, s := newFake(t)
	c := s.client(t)
	_, err := c.PutObject(context.Background(), "images", "k", []byte("x"), uploader.WithContentMD5([16]byte{}))
	require.NoError(t, err, "stored though the digest is wrong")
	require.NoError(t, c.ProbeCopy(context.Background(), "images", "k"))
	assert.False(t, f.upload, "ended again")
	f.encrypt = true
	info, err := c.PutObject(context.Background(), "images", "k", []byte("x"))
	require.NoError(t, err)
	assert.True(t, info.Encrypted)
	require.NoError(t, c.ProbeCopy(context.Background(), "images", "k"))
}

// TestCleanupReported: what could not be removed is said, and removed by the
// next run, which sends nothing.
func TestCleanupReported(t *testing.T) {
	t.Parallel()
	f, s := newFake(t)
	st, dir := fileStore(t)
	u := s.uploader(t, uploader.WithStore(st), uploader.WithFingerprint("disk"))
	src := &sparse{data: noise(1, mib), size: 23 * mib}
	f.refuse = func(r *http.Request) (int, string) {
		if r.Method == http.MethodDelete {
			return 403, "AccessDenied"
		}
		return 0, ""
	}
	res, err := u.UploadReaderAt(context.Background(), "images", "k", src, src.size)
	require.NoError(t, err)
	require.ErrorIs(t, res.CleanupErr, uploader.ErrCleanup)
	require.ErrorIs(t, res.CleanupErr, uploader.ErrAccessDenied)
	assert.Len(t, f.objects, 2, "the zero object is left")
	f.refuse = nil
	res, err = u.UploadReaderAt(context.Background(), "images", "k", src, src.size)
	require.NoError(t, err)
	require.NoError(t, res.CleanupErr)
	assert.Zero(t, res.WireBytes)
	assert.Len(t, f.objects, 1)
	requireEmptyDir(t, dir)
}

// TestZerosGoAfterFailure: the zero object does not outlive an upload that
// failed and is to be resumed.
func TestZerosGoAfterFailure(t *testing.T) {
	t.Parallel()
	f, s := newFake(t)
	st, _ := fileStore(t)
	u := s.uploader(t, uploader.WithStore(st), uploader.WithConcurrency(1))
	src := &sparse{data: noise(1, 6*mib), at: 12 * mib, size: 23 * mib, failAt: 13 * mib}
	_, err := u.UploadReaderAt(context.Background(), "images", "k", src, src.size)
	require.ErrorIs(t, err, errFail)
	assert.Empty(t, f.objects)
	assert.True(t, f.upload, "kept to be resumed")
	src.failAt = 0
	res, err := u.UploadReaderAt(context.Background(), "images", "k", src, src.size)
	require.NoError(t, err)
	assert.Equal(t, 2, res.ResumedParts)
	assert.True(t, bytes.Equal(src.bytes(), f.objects["k"]))
	assert.Len(t, f.objects, 1)
}

// TestExpiredInTheMiddle: keys that end during an upload are renewed and the
// upload goes on.
func TestExpiredInTheMiddle(t *testing.T) {
	t.Parallel()
	f, s := newFake(t)
	var asked atomic.Int64
	c := s.client(t, uploader.WithCredentials(func(context.Context) (uploader.Credentials, error) {
		return uploader.Credentials{AccessKey: fmt.Sprintf("AK%d", asked.Add(1)), SecretKey: "SK"}, nil
	}))
	f.refuse = func(r *http.Request) (int, string) {
		if r.URL.Query().Get("partNumber") >= "2" && strings.Contains(r.Header.Get("Authorization"), "AK1/") {
			return 403, "ExpiredToken"
		}
		return 0, ""
	}
	u, err := uploader.New(c, uploader.WithConcurrency(1))
	require.NoError(t, err)
	data := noise(1, 17*mib)
	res, err := u.UploadReaderAt(context.Background(), "images", "k", bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	assert.EqualValues(t, 2, asked.Load())
	assert.Equal(t, 1, res.Retries)
	assert.True(t, bytes.Equal(data, f.objects["k"]))
}

// TestSourceCheck: no object appears from a source that changed on the way,
// whether it is read or generated.
func TestSourceCheck(t *testing.T) {
	t.Parallel()
	f, s := newFake(t)
	boom := errors.New("written to")
	u := s.uploader(t, uploader.WithSourceCheck(func() error { return boom }))
	for _, size := range []int{100, 11 * mib} {
		data := noise(1, size)
		_, err := u.UploadReaderAt(context.Background(), "images", "k", bytes.NewReader(data), int64(size))
		require.ErrorIs(t, err, uploader.ErrSourceChanged)
		_, err = u.UploadStream(context.Background(), "images", "k", bytes.NewReader(data), int64(size))
		require.ErrorIs(t, err, boom)
		assert.Empty(t, f.objects)
		assert.False(t, f.upload)
	}
}
