package uploader_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/uploader"
)

// smallPart is the least that the manager takes.
const smallPart = uploader.MinPartSize

// small makes an uploader that retries at once.
func (s site) small(t testing.TB, opts ...uploader.Option) *uploader.Uploader {
	t.Helper()
	c := s.client(t, uploader.WithRetries(3, time.Millisecond, 2*time.Millisecond))
	u, err := uploader.New(c, opts...)
	require.NoError(t, err)
	return u
}

// put uploads data as images/k.
func put(ctx context.Context, u *uploader.Uploader, data []byte, opts ...uploader.Option) (*uploader.Result, error) {
	return u.UploadReaderAt(ctx, "images", "k", bytes.NewReader(data), int64(len(data)), opts...)
}

func isComplete(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
}

func isHead(r *http.Request) bool {
	return r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, "/k")
}

// TestForeignObjectIsNoProof: a completion without an answer, and at its place
// an object of another host of the same size: that is not success, and the next
// run sends everything again.
func TestForeignObjectIsNoProof(t *testing.T) {
	t.Parallel()
	for name, encrypt := range map[string]bool{"digests": false, "encrypted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, s := newFake(t)
			f.encrypt = encrypt
			data, foreign := noise(1, 3*smallPart), noise(2, 3*smallPart)
			lost := true
			f.hook = func(w http.ResponseWriter, r *http.Request) bool {
				if !isComplete(r) || !lost {
					return false
				}
				f.mu.Lock()
				defer f.mu.Unlock()
				if f.upload {
					f.upload = false
					clear(f.parts)
					f.objects["k"], f.meta["k"] = foreign, http.Header{"X-Amz-Meta-Fastimage-Upload": {"ANOTHER"}}
					panic(http.ErrAbortHandler)
				}
				return false
			}
			st, dir := fileStore(t)
			u := s.small(t, uploader.WithStore(st), uploader.WithFingerprint("disk"))
			_, err := put(t.Context(), u, data)
			require.ErrorIs(t, err, uploader.ErrNoSuchUpload)
			require.True(t, bytes.Equal(foreign, f.objects["k"]), "not ours to remove")
			lost = false
			res, err := put(t.Context(), u, data)
			require.NoError(t, err)
			assert.EqualValues(t, len(data), res.WireBytes)
			assert.Contains(t, res.RestartReason, "gone")
			assert.True(t, bytes.Equal(data, f.objects["k"]))
			requireEmptyDir(t, dir)
		})
	}
}

// TestLostCompletionIsFound: the completion was carried out and its answer lost;
// the nonce shows it where ETags show nothing.
func TestLostCompletionIsFound(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(w http.ResponseWriter){
		"reset": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"500":   func(w http.ResponseWriter) { w.WriteHeader(500) },
		"empty": func(w http.ResponseWriter) { w.WriteHeader(200) },
	} {
		for _, encrypt := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f, s := newFake(t)
				f.encrypt = encrypt
				f.hook = func(w http.ResponseWriter, r *http.Request) bool {
					if isComplete(r) && f.upload {
						f.hook = nil
						f.ServeHTTP(discardWriter{http.Header{}}, r)
						answer(w)
						return true
					}
					return false
				}
				data := noise(1, 3*smallPart)
				res, err := put(t.Context(), s.small(t), data)
				require.NoError(t, err)
				assert.Equal(t, encrypt, res.Encrypted)
				assert.True(t, bytes.Equal(data, f.objects["k"]))
			})
		}
	}
}

type discardWriter struct{ h http.Header }

func (w discardWriter) Header() http.Header         { return w.h }
func (w discardWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w discardWriter) WriteHeader(int)             {}

// TestSSES3: AES256, which every new bucket reports, leaves ETags digests: they
// are compared, and what is damaged is found.
func TestSSES3(t *testing.T) {
	t.Parallel()
	f, s := newFake(t)
	f.sse = "AES256"
	data := noise(1, 3*smallPart)
	res, err := put(t.Context(), s.small(t), data)
	require.NoError(t, err)
	assert.False(t, res.Encrypted)
	f.finalTag = func(string) string { return strings.Repeat("0", 32) + "-3" }
	_, err = put(t.Context(), s.small(t), data)
	require.ErrorIs(t, err, uploader.ErrBadDigest)
	assert.Empty(t, f.objects)
}

// TestUnknownFinalETag: an ETag of another form says nothing, and nothing is
// removed because of it.
func TestUnknownFinalETag(t *testing.T) {
	t.Parallel()
	for _, tag := range []string{"0123456789", "etag-3", strings.Repeat("a", 64), strings.Repeat("0", 32) + "-7"} {
		f, s := newFake(t)
		f.finalTag = func(string) string { return tag }
		data := noise(1, 3*smallPart)
		_, err := put(t.Context(), s.small(t), data)
		require.NoError(t, err, tag)
		assert.True(t, bytes.Equal(data, f.objects["k"]))
	}
}

// TestFailedCheckCostsNothing: whatever happens to the look at the object after
// its completion, no byte is sent again.
func TestFailedCheckCostsNothing(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		times  int64
		fails  bool // the first run
	}{
		"403":         {403, 100, false}, // keys that may only write
		"404 once":    {404, 1, false},
		"503 once":    {503, 1, false},
		"503":         {503, 3, true},
		"400":         {400, 1, true},
		"interrupted": {0, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, s := newFake(t)
			f.encrypt = true
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var heads atomic.Int64
			f.hook = func(w http.ResponseWriter, r *http.Request) bool {
				if !isHead(r) || heads.Add(1) > tc.times {
					return false
				}
				if tc.status == 0 {
					cancel()
					<-r.Context().Done()
					return true
				}
				w.WriteHeader(tc.status)
				return true
			}
			st, dir := fileStore(t)
			u := s.small(t, uploader.WithStore(st), uploader.WithFingerprint("disk"))
			data := noise(1, 3*smallPart)
			_, err := put(ctx, u, data)
			assert.True(t, bytes.Equal(data, f.objects["k"]))
			if !tc.fails {
				require.NoError(t, err)
				requireEmptyDir(t, dir)
				return
			}
			require.Error(t, err)
			res, err := put(t.Context(), u, data)
			require.NoError(t, err)
			assert.Zero(t, res.WireBytes)
			assert.EqualValues(t, len(data), res.ResumedBytes)
			requireEmptyDir(t, dir)
		})
	}
}

// TestReplacedAfterCompletion: another host replaces the object before it is
// looked at: that is no damage, and not success either.
func TestReplacedAfterCompletion(t *testing.T) {
	t.Parallel()
	f, s := newFake(t)
	foreign := noise(2, 2*smallPart)
	f.hook = func(_ http.ResponseWriter, r *http.Request) bool {
		if isHead(r) {
			f.mu.Lock()
			defer f.mu.Unlock()
			clear(f.parts)
			f.objects["k"], f.meta["k"] = foreign, http.Header{"X-Amz-Meta-Fastimage-Upload": {"ANOTHER"}}
		}
		return false
	}
	_, err := put(t.Context(), s.small(t), noise(1, 3*smallPart))
	require.ErrorIs(t, err, uploader.ErrObjectChanged)
	assert.True(t, bytes.Equal(foreign, f.objects["k"]))
}

// TestETagForms: weak and upper-case ETags are the same ETags.
func TestETagForms(t *testing.T) {
	t.Parallel()
	f, s := newFake(t)
	f.weak, f.capitals = true, true
	st, dir := fileStore(t)
	u := s.small(t, uploader.WithStore(st), uploader.WithConcurrency(1))
	src := &sparse{data: noise(1, 3*smallPart), size: 3 * smallPart, failAt: 5 * smallPart / 2}
	_, err := u.UploadReaderAt(t.Context(), "images", "k", plain{src}, src.size)
	require.ErrorIs(t, err, errFail)
	src.failAt = 0
	res, err := u.UploadReaderAt(t.Context(), "images", "k", plain{src}, src.size)
	require.NoError(t, err)
	assert.Equal(t, 2, res.ResumedParts)
	assert.False(t, res.Encrypted)
	requireEmptyDir(t, dir)
}

// TestMissingPermissions: what the keys may not do is never in the way of an
// upload.
func TestMissingPermissions(t *testing.T) {
	t.Parallel()
	denied := func(which func(*http.Request) bool) func(*http.Request) (int, string) {
		return func(r *http.Request) (int, string) {
			if which(r) {
				return 403, "AccessDenied"
			}
			return 0, ""
		}
	}
	for name, which := range map[string]func(*http.Request) bool{
		"Delete and Abort": func(r *http.Request) bool { return r.Method == http.MethodDelete },
		"ListParts":        func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Query().Has("uploadId") },
		"other keys":       func(r *http.Request) bool { return strings.Contains(r.URL.Path, ".zeros-") },
		"bucket": func(r *http.Request) bool {
			_, key, _ := strings.Cut(r.URL.Path[1:], "/")
			return key == ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, s := newFake(t)
			f.refuse = denied(which)
			st, _ := fileStore(t)
			u := s.small(t, uploader.WithStore(st), uploader.WithConcurrency(1))
			src := &sparse{data: noise(1, 2*smallPart), at: 2 * smallPart, size: 6 * smallPart, failAt: 7 * smallPart / 2}
			_, err := u.UploadReaderAt(t.Context(), "images", "k", src, src.size, uploader.WithFingerprint("a"))
			require.ErrorIs(t, err, errFail)
			src.failAt = 0
			for _, fingerprint := range []string{"a", "b", "c"} { // resumed, then other sources
				res, err := u.UploadReaderAt(t.Context(), "images", "k", src, src.size, uploader.WithFingerprint(fingerprint))
				require.NoError(t, err, fingerprint)
				assert.True(t, bytes.Equal(src.bytes(), f.objects["k"]))
				if name == "other keys" {
					require.NoError(t, res.CleanupErr, "there is no zero object to remove")
				}
			}
			assert.True(t, f.objects["k"] != nil)
		})
	}
}

// TestRecoverySparesOtherHosts: an upload of the same key that another host has
// just begun survives our recovery from a lost answer, and from a death before
// the id was noted.
func TestRecoverySparesOtherHosts(t *testing.T) {
	t.Parallel()
	f, s := newFake(t)
	f.others = []string{"theirs"}
	lose := true
	f.hook = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && r.URL.Query().Has("uploads") && lose {
			lose = false
			panic(http.ErrAbortHandler)
		}
		return false
	}
	data := noise(1, 3*smallPart)
	res, err := put(t.Context(), s.small(t), data)
	require.NoError(t, err)
	assert.Equal(t, []string{"theirs"}, f.others)
	require.ErrorIs(t, res.CleanupErr, uploader.ErrCleanup)
	require.ErrorContains(t, res.CleanupErr, "theirs")

	// No answer at all: the state is left as by a process that died there.
	st, dir := fileStore(t)
	u := s.small(t, uploader.WithStore(st), uploader.WithFingerprint("disk"))
	f.hook = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && r.URL.Query().Has("uploads") {
			panic(http.ErrAbortHandler)
		}
		return false
	}
	_, err = put(t.Context(), u, data)
	require.Error(t, err)
	f.hook = nil
	_, err = put(t.Context(), u, data)
	require.NoError(t, err)
	assert.Equal(t, []string{"theirs"}, f.others)
	requireEmptyDir(t, dir)
}

// TestEarlyMismatch: a part whose ETag was taken for none of digests, before
// another showed that they are digests, is not accepted.
func TestEarlyMismatch(t *testing.T) {
	t.Parallel()
	f, s := newFake(t)
	f.sse = "AES256"
	f.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("partNumber") != "1" {
			return false
		}
		w.Header().Set("ETag", `"00000000000000000000000000000000"`)
		w.Header().Set("X-Amz-Server-Side-Encryption", "AES256")
		return true
	}
	_, err := put(t.Context(), s.small(t, uploader.WithConcurrency(1)), noise(1, 3*smallPart))
	require.ErrorIs(t, err, uploader.ErrBadDigest)
	assert.Empty(t, f.objects)
}

// TestStateOfAnotherVersion is an error, and the state stays.
func TestStateOfAnotherVersion(t *testing.T) {
	t.Parallel()
	f, s := newFake(t)
	st := &memoryStore{data: []byte(`{"version":7,"upload_id":"x"}`)}
	u := s.small(t, uploader.WithStore(st))
	_, err := put(t.Context(), u, noise(1, 100))
	require.ErrorIs(t, err, uploader.ErrState)
	require.ErrorContains(t, err, "version 7")
	assert.Empty(t, f.objects)
	assert.NotEmpty(t, st.data)
	for _, damaged := range []string{"", "{", `{"version":"1"}`, `{"version":0}`, `[]`} {
		st.data = []byte(damaged)
		res, err := put(t.Context(), u, noise(1, 100))
		require.NoError(t, err, damaged)
		assert.Contains(t, res.RestartReason, "damaged")
	}
}

// memoryStore keeps one state.
type memoryStore struct{ data []byte }

func (*memoryStore) Lock(context.Context, string) (func() error, error) {
	return func() error { return nil }, nil
}
func (m *memoryStore) Load(context.Context, string) ([]byte, error) { return m.data, nil }
func (m *memoryStore) Save(_ context.Context, _ string, data []byte) error {
	m.data = data
	return nil
}
func (m *memoryStore) Remove(context.Context, string) error { m.data = nil; return nil }
