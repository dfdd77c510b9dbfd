package uploader_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/uploader"
)

const mib = 1 << 20

func TestConformanceVersitygw(t *testing.T) { t.Parallel(); conformance(t, gateway(t)) }

// TestConformanceEndpoint runs the suite against a service of your choice:
// FASTIMAGE_S3_ENDPOINT, _REGION, _BUCKET, _ACCESS_KEY, _SECRET_KEY, and
// optionally _PREFIX for the keys.
func TestConformanceEndpoint(t *testing.T) {
	t.Parallel()
	s := site{
		endpoint: os.Getenv("FASTIMAGE_S3_ENDPOINT"), region: os.Getenv("FASTIMAGE_S3_REGION"),
		bucket: os.Getenv("FASTIMAGE_S3_BUCKET"), ak: os.Getenv("FASTIMAGE_S3_ACCESS_KEY"),
		sk: os.Getenv("FASTIMAGE_S3_SECRET_KEY"), prefix: os.Getenv("FASTIMAGE_S3_PREFIX"),
	}
	if s.endpoint == "" {
		// Not an oracle that a build can have: it is chosen by hand.
		t.Skip("FASTIMAGE_S3_ENDPOINT is not set")
	}
	conformance(t, s)
}

// conformance is what every service must do for us.
func conformance(t *testing.T, s site) {
	for _, tc := range []struct {
		name string
		f    func(*testing.T, site)
	}{
		{"Sizes", testSizes},
		{"Stream", testStream},
		{"StreamTooLong", testStreamTooLong},
		{"SourceError", testSourceError},
		{"Sparse", testSparse},
		{"Small", testSmall},
		{"Probes", testProbes},
		{"Options", testOptions},
		{"BadInput", testBadInput},
		{"Object", testObject},
		{"Stale", testStale},
		{"Resume", testResume},
		{"ResumeStream", testResumeStream},
		{"ResumeChanged", testResumeChanged},
		{"ResumeGone", testResumeGone},
		{"Cancel", testCancel},
		{"RateAndProgress", testRateAndProgress},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.f(t, s) })
	}
}

func testSizes(t *testing.T, s site) {
	u := s.uploader(t)
	for _, size := range []int{0, 1, 4096, 5*mib - 1, 5 * mib, 5*mib + 1, 11*mib + 17} {
		data, key := noise(uint64(size), size), s.key()
		res, err := u.UploadReaderAt(context.Background(), s.bucket, key, bytes.NewReader(data), int64(size))
		require.NoError(t, err, "size %d", size)
		require.NoError(t, res.CleanupErr)
		assert.EqualValues(t, size, res.ObjectBytes)
		assert.EqualValues(t, size, res.WireBytes)
		assert.Equal(t, max(1, (size+5*mib-1)/(5*mib)), res.Parts, "size %d", size)
		assert.True(t, bytes.Equal(data, download(t, s, key)), "size %d", size)
		requireClean(t, s, key, key)
	}
}

func testStream(t *testing.T, s site) {
	u := s.uploader(t)
	for _, size := range []int{0, 100, 5*mib - 1, 5 * mib, 10 * mib, 12*mib + 3} {
		data, key := noise(uint64(size), size), s.key()
		// A reader that gives half of what is asked hides its length and its end.
		r := iotest.HalfReader(bytes.NewReader(data))
		res, err := u.UploadStream(context.Background(), s.bucket, key, r, 100*mib)
		require.NoError(t, err)
		assert.EqualValues(t, size, res.ObjectBytes)
		assert.True(t, bytes.Equal(data, download(t, s, key)))
		requireClean(t, s, key, key)
	}
}

func testStreamTooLong(t *testing.T, s site) {
	key := s.key()
	_, err := s.uploader(t).UploadStream(context.Background(), s.bucket, key, bytes.NewReader(make([]byte, 11*mib)), 10*mib)
	require.ErrorIs(t, err, uploader.ErrTooLarge)
	requireClean(t, s, key)
}

func testSourceError(t *testing.T, s site) {
	boom := errors.New("disk on fire")
	for name, r := range map[string]io.Reader{
		"first":  io.MultiReader(bytes.NewReader(make([]byte, 100)), iotest.ErrReader(boom)),
		"second": io.MultiReader(bytes.NewReader(noise(1, 7*mib)), iotest.ErrReader(boom)),
	} {
		key := s.key()
		_, err := s.uploader(t).UploadStream(context.Background(), s.bucket, key, r, 100*mib)
		require.ErrorIs(t, err, boom, name)
		require.ErrorIs(t, err, uploader.ErrSource, name)
		requireClean(t, s, key)
	}
	key := s.key()
	_, err := s.uploader(t).UploadReaderAt(context.Background(), s.bucket, key, bytes.NewReader(noise(2, 6*mib)), 12*mib)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	requireClean(t, s, key)
}

func testSmall(t *testing.T, s site) {
	ctx, c, key := context.Background(), s.client(t), s.key()
	put, err := c.PutObject(ctx, s.bucket, key, []byte("hello"))
	require.NoError(t, err)
	sum := md5.Sum([]byte("hello"))
	assert.Equal(t, hex.EncodeToString(sum[:]), put.ETag)
	assert.EqualValues(t, 5, put.Size)
	assert.False(t, put.Encrypted)
	info, err := c.HeadObject(ctx, s.bucket, key)
	require.NoError(t, err)
	assert.EqualValues(t, 5, info.Size)
	_, err = c.CheckBucket(ctx, s.bucket, "STANDARD")
	require.NoError(t, err)
	_, err = c.BucketLocation(ctx, s.bucket)
	require.NoError(t, err)
	require.NoError(t, c.DeleteObject(ctx, s.bucket, key))
	require.NoError(t, c.DeleteObject(ctx, s.bucket, key), "twice")
	_, err = c.HeadObject(ctx, s.bucket, key)
	require.ErrorIs(t, err, uploader.ErrNoSuchKey)
}

// testOptions: the zeros are sent where copying is turned off, and an object has
// the type it was given, in one piece and in parts.
func testOptions(t *testing.T, s site) {
	ctx, c := context.Background(), s.client(t)
	for _, size := range []int64{100, 11 * mib} {
		key := s.key()
		src := &sparse{data: noise(1, 100), size: size}
		res, err := s.uploader(t, uploader.WithZeroCopy(false), uploader.WithContentType("application/x-raw-disk")).
			UploadReaderAt(ctx, s.bucket, key, src, size)
		require.NoError(t, err)
		assert.Equal(t, size, res.WireBytes)
		assert.Zero(t, res.CopiedParts)
		info, err := c.HeadObject(ctx, s.bucket, key)
		require.NoError(t, err)
		assert.Equal(t, "application/x-raw-disk", info.ContentType)
		assert.True(t, bytes.Equal(src.bytes(), download(t, s, key)))
		requireClean(t, s, key, key)
	}
}

// testProbes: a wrong digest is refused, at the first attempt, and parts are
// made by copying; neither leaves anything.
func testProbes(t *testing.T, s site) {
	ctx, c, key := context.Background(), s.client(t), s.key()
	_, err := c.PutObject(ctx, s.bucket, key, []byte("hello"), uploader.WithContentMD5(md5.Sum([]byte("hallo"))))
	require.ErrorIs(t, err, uploader.ErrBadDigest)
	var e *uploader.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, 1, e.Attempts)
	assert.Equal(t, 400, e.StatusCode)
	requireClean(t, s, key)
	require.ErrorIs(t, c.ProbeCopy(ctx, s.bucket, key), uploader.ErrNoSuchKey)
	_, err = c.PutObject(ctx, s.bucket, key, []byte("hello"))
	require.NoError(t, err)
	require.NoError(t, c.ProbeCopy(ctx, s.bucket, key))
	requireClean(t, s, key, key)
	assert.Equal(t, "hello", string(download(t, s, key)))
}

func testBadInput(t *testing.T, s site) {
	ctx, u := context.Background(), s.uploader(t)
	body := bytes.NewReader(make([]byte, 10))
	_, err := u.UploadReaderAt(ctx, "no-such-bucket-here", "k", body, 10)
	require.ErrorIs(t, err, uploader.ErrNoSuchBucket)
	var e *uploader.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, 404, e.StatusCode)
	for _, key := range []string{"", "a\x00b", "a\nb", "../x", string(bytes.Repeat([]byte("k"), 1025))} {
		_, err = u.UploadReaderAt(ctx, s.bucket, key, body, 10)
		require.ErrorIs(t, err, uploader.ErrInvalidName, "%q", key)
	}
	_, err = u.UploadReaderAt(ctx, s.bucket, "k", body, 10, uploader.WithPartSize(1))
	require.ErrorIs(t, err, uploader.ErrPartSize)
	_, err = u.UploadReaderAt(ctx, s.bucket, "k", body, 1<<40, uploader.WithPartSize(5*mib))
	require.ErrorIs(t, err, uploader.ErrPartSize)
	_, err = u.UploadReaderAt(ctx, s.bucket, "k", body, uploader.MaxObjectSize+1)
	require.ErrorIs(t, err, uploader.ErrTooLarge)
	bad := s
	bad.sk = "wrong"
	_, err = bad.uploader(t).UploadReaderAt(ctx, s.bucket, s.key(), body, 10)
	require.Error(t, err)
	assert.True(t, errors.Is(err, uploader.ErrAccessDenied) || errors.Is(err, uploader.ErrCredentials), "%v", err)
	require.ErrorAs(t, err, &e)
	assert.NotContains(t, err.Error(), "wrong")
}

func testStale(t *testing.T, s site) {
	ctx, c, key := context.Background(), s.client(t), s.key()
	u := s.uploader(t, uploader.WithFailureMode(uploader.FailKeep))
	r := io.MultiReader(bytes.NewReader(noise(1, 7*mib)), iotest.ErrReader(errors.New("x")))
	_, err := u.UploadStream(ctx, s.bucket, key, r, 100*mib)
	require.Error(t, err)
	count := func(before time.Time) (n int) {
		for _, err := range c.Stale(ctx, s.bucket, key, before) {
			require.NoError(t, err)
			n++
		}
		return n
	}
	assert.Equal(t, 1, count(time.Time{}))
	assert.Equal(t, 0, count(time.Now().Add(-time.Hour)))
	ended, err := c.AbortStale(ctx, s.bucket, key, time.Now().Add(time.Hour))
	require.NoError(t, err)
	assert.Len(t, ended, 1)
	requireClean(t, s, key)
}

func testObject(t *testing.T, s site) {
	ctx, c, key := context.Background(), s.client(t), s.key()
	data := noise(3, 300<<10+77) // TestReader reads it in tiny pieces many times
	_, err := c.PutObject(ctx, s.bucket, key, data)
	require.NoError(t, err)
	o, err := c.OpenObject(ctx, s.bucket, key)
	require.NoError(t, err)
	require.NoError(t, iotest.TestReader(io.NewSectionReader(o, 0, o.Size()), data))
	small, err := c.OpenObject(ctx, s.bucket, key)
	require.NoError(t, err)
	_, err = c.PutObject(ctx, s.bucket, key, noise(4, 300<<10+77))
	require.NoError(t, err)
	_, err = small.ReadAt(make([]byte, 10), 200<<10)
	require.ErrorIs(t, err, uploader.ErrObjectChanged)
	require.NoError(t, o.Close())
	require.NoError(t, small.Close())
	_, err = o.ReadAt(make([]byte, 10), 0)
	require.Error(t, err)
	_, err = c.OpenObject(ctx, s.bucket, key+"-none")
	require.ErrorIs(t, err, uploader.ErrNoSuchKey)
}
