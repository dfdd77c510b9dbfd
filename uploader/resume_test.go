package uploader_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/uploader"
)

// sparse is a source with extents that counts what is read of it.
type sparse struct {
	data   []byte // from offset at
	at     int64
	size   int64
	read   atomic.Int64
	failAt int64 // reads beyond fail, if > 0
}

var errFail = errors.New("read error")

func (s *sparse) ReadAt(p []byte, off int64) (int, error) {
	s.read.Add(int64(len(p)))
	if s.failAt > 0 && off+int64(len(p)) > s.failAt {
		return 0, errFail
	}
	clear(p)
	if skip := s.at - off; skip >= int64(len(p)) {
		return len(p), nil
	} else if skip > 0 {
		copy(p[skip:], s.data)
	} else if -skip < int64(len(s.data)) {
		copy(p, s.data[-skip:])
	}
	return len(p), nil
}

func (s *sparse) NextData(off int64) (int64, int64, error) {
	end := s.at + int64(len(s.data))
	if off >= end {
		return 0, 0, io.EOF
	}
	return max(off, s.at), end, nil
}

func (s *sparse) bytes() []byte {
	b := make([]byte, s.size)
	copy(b[s.at:], s.data)
	return b
}

// plain hides the extents.
type plain struct{ io.ReaderAt }

func testSparse(t *testing.T, s site) {
	for _, hidden := range []bool{false, true} {
		src := &sparse{data: noise(5, 2*mib), at: 13 * mib, size: 52*mib + 100}
		var r io.ReaderAt = src
		if hidden {
			r = plain{src}
		}
		key := s.key()
		res, err := s.uploader(t).UploadReaderAt(context.Background(), s.bucket, key, r, src.size)
		require.NoError(t, err)
		require.NoError(t, res.CleanupErr)
		assert.Equal(t, 11, res.Parts)
		assert.Equal(t, 10, res.CopiedParts, "13 to 15 MiB lie in one part")
		assert.EqualValues(t, 10*mib, res.WireBytes, "one part and the zero object")
		if !hidden {
			assert.EqualValues(t, 2*mib, src.read.Load(), "holes are not read")
		}
		assert.True(t, bytes.Equal(src.bytes(), download(t, s, key)))
		requireClean(t, s, key, key)
	}
	requireNoZeros(t, s)
}

// requireNoZeros checks that no zero object is left in the prefix.
func requireNoZeros(t *testing.T, s site) {
	t.Helper()
	for o, err := range s.client(t).Objects(context.Background(), s.bucket, s.prefix+".zeros-") {
		require.NoError(t, err)
		t.Errorf("zero object left: %s", o.Key)
	}
}

func fileStore(t *testing.T) (*uploader.FileStore, string) {
	t.Helper()
	dir := t.TempDir()
	st, err := uploader.NewFileStore(dir)
	require.NoError(t, err)
	return st, dir
}

func requireEmptyDir(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func testResume(t *testing.T, s site) {
	st, dir := fileStore(t)
	u := s.uploader(t, uploader.WithStore(st), uploader.WithFingerprint("disk-1"), uploader.WithConcurrency(1))
	key := s.key()
	data := noise(7, 33*mib)
	src := &sparse{data: data, size: 33 * mib, failAt: 21 * mib}
	_, err := u.UploadReaderAt(context.Background(), s.bucket, key, plain{src}, src.size)
	require.ErrorIs(t, err, errFail)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
	fi, err := left[0].Info()
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), fi.Mode().Perm())
	src.failAt = 0
	res, err := u.UploadReaderAt(context.Background(), s.bucket, key, plain{src}, src.size)
	require.NoError(t, err)
	assert.Equal(t, 4, res.ResumedParts)
	assert.EqualValues(t, 13*mib, res.WireBytes)
	assert.Empty(t, res.RestartReason)
	assert.True(t, bytes.Equal(data, download(t, s, key)))
	requireClean(t, s, key, key)
	requireEmptyDir(t, dir)
}

func testResumeStream(t *testing.T, s site) {
	st, dir := fileStore(t)
	u := s.uploader(t, uploader.WithStore(st), uploader.WithConcurrency(1))
	key, data := s.key(), noise(8, 28*mib)
	r := io.MultiReader(bytes.NewReader(data[:22*mib]), iotest.ErrReader(errFail))
	_, err := u.UploadStream(context.Background(), s.bucket, key, r, 100*mib)
	require.ErrorIs(t, err, errFail)
	data[6*mib] ^= 1 // the second part differs now
	res, err := u.UploadStream(context.Background(), s.bucket, key, bytes.NewReader(data), 100*mib)
	require.NoError(t, err)
	assert.Positive(t, res.ResumedParts)
	assert.LessOrEqual(t, res.ResumedParts, 3)
	assert.True(t, bytes.Equal(data, download(t, s, key)))
	requireClean(t, s, key, key)
	requireEmptyDir(t, dir)
}

func testResumeChanged(t *testing.T, s site) {
	st, dir := fileStore(t)
	u := s.uploader(t, uploader.WithStore(st), uploader.WithConcurrency(1))
	key := s.key()
	src := &sparse{data: noise(9, 17*mib), size: 17 * mib, failAt: 11 * mib}
	_, err := u.UploadReaderAt(context.Background(), s.bucket, key, plain{src}, src.size, uploader.WithFingerprint("a"))
	require.ErrorIs(t, err, errFail)
	src.failAt = 0
	res, err := u.UploadReaderAt(context.Background(), s.bucket, key, plain{src}, src.size, uploader.WithFingerprint("b"))
	require.NoError(t, err)
	assert.Contains(t, res.RestartReason, "source changed")
	assert.Zero(t, res.ResumedParts)
	requireClean(t, s, key, key)
	requireEmptyDir(t, dir)
}

func testResumeGone(t *testing.T, s site) {
	st, dir := fileStore(t)
	u := s.uploader(t, uploader.WithStore(st), uploader.WithConcurrency(1))
	key := s.key()
	src := &sparse{data: noise(10, 17*mib), size: 17 * mib, failAt: 11 * mib}
	_, err := u.UploadReaderAt(context.Background(), s.bucket, key, plain{src}, src.size)
	require.ErrorIs(t, err, errFail)
	_, err = s.client(t).AbortStale(context.Background(), s.bucket, key, time.Time{})
	require.NoError(t, err)
	src.failAt = 0
	res, err := u.UploadReaderAt(context.Background(), s.bucket, key, plain{src}, src.size)
	require.NoError(t, err)
	assert.Contains(t, res.RestartReason, "gone")
	requireClean(t, s, key, key)
	requireEmptyDir(t, dir)
}

// blocker cancels the upload at an offset.
type blocker struct {
	io.ReaderAt
	at     int64
	cancel context.CancelFunc
}

func (b blocker) ReadAt(p []byte, off int64) (int, error) {
	if off >= b.at {
		b.cancel()
	}
	return b.ReaderAt.ReadAt(p, off)
}

func testCancel(t *testing.T, s site) {
	data := noise(11, 40*mib)
	for _, mode := range []uploader.FailureMode{uploader.FailAuto, uploader.FailAbort} {
		st, dir := fileStore(t)
		u := s.uploader(t, uploader.WithStore(st), uploader.WithFailureMode(mode), uploader.WithConcurrency(1))
		key := s.key()
		ctx, cancel := context.WithCancel(context.Background())
		_, err := u.UploadReaderAt(ctx, s.bucket, key, blocker{bytes.NewReader(data), 15 * mib, cancel}, 40*mib)
		require.ErrorIs(t, err, context.Canceled)
		if mode == uploader.FailAbort {
			requireClean(t, s, key)
			requireEmptyDir(t, dir)
			continue
		}
		res, err := u.UploadReaderAt(context.Background(), s.bucket, key, bytes.NewReader(data), 40*mib)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, res.ResumedParts, 1)
		requireClean(t, s, key, key)
	}
	key := s.key()
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("the user left")
	cancel(cause)
	_, err := s.uploader(t).UploadReaderAt(ctx, s.bucket, key, bytes.NewReader(data), 40*mib)
	require.ErrorIs(t, err, cause)
	requireClean(t, s, key)
}

func testRateAndProgress(t *testing.T, s site) {
	key := s.key()
	var last uploader.Progress
	calls := 0
	started := time.Now()
	_, err := s.uploader(t).UploadReaderAt(context.Background(), s.bucket, key, bytes.NewReader(noise(12, 6*mib)), 6*mib,
		uploader.WithRateLimit(8*mib), uploader.WithProgress(func(p uploader.Progress) {
			assert.GreaterOrEqual(t, p.Done, int64(0))
			last = p
			calls++
		}))
	require.NoError(t, err)
	assert.Greater(t, time.Since(started), 500*time.Millisecond)
	assert.Greater(t, calls, 2)
	assert.True(t, last.Final)
	assert.EqualValues(t, 6*mib, last.Done)
	requireClean(t, s, key, key)
}
