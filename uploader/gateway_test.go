package uploader_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/uploader"
)

const (
	testAK     = "test-access-key"
	testSK     = "test-secret-key-of-some-length"
	testRegion = "us-east-1"
)

// site is a service to test against.
type site struct {
	endpoint, region, ak, sk, bucket, prefix string
}

func (s site) client(t testing.TB, opts ...uploader.ClientOption) *uploader.Client {
	t.Helper()
	c, err := uploader.NewClient(append([]uploader.ClientOption{
		uploader.WithEndpoint(s.endpoint), uploader.WithRegion(s.region),
		uploader.WithStaticCredentials(s.ak, s.sk, ""),
		uploader.WithRetries(8, 5*time.Millisecond, 100*time.Millisecond),
	}, opts...)...)
	require.NoError(t, err)
	return c
}

func (s site) uploader(t testing.TB, opts ...uploader.Option) *uploader.Uploader {
	t.Helper()
	u, err := uploader.New(s.client(t), opts...)
	require.NoError(t, err)
	return u
}

// key returns a fresh key.
func (s site) key() string { return fmt.Sprintf("%sobj-%016x", s.prefix, rand.Uint64()) }

// missing ends a test whose oracle is not there: never silently where CI counts on it.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" || os.Getenv("FASTIMAGE_REQUIRE_ORACLES") == "1" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing", what)
}

func findGateway(t testing.TB) string {
	t.Helper()
	if p := os.Getenv("FASTIMAGE_VERSITYGW"); p != "" {
		return p
	}
	if p, err := exec.LookPath("versitygw"); err == nil {
		return p
	}
	if out, err := exec.Command("go", "env", "GOPATH").Output(); err == nil {
		p := filepath.Join(strings.TrimSpace(string(out)), "bin", "versitygw")
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	missing(t, "versitygw (go install github.com/versity/versitygw/cmd/versitygw@v1.8.0)")
	return ""
}

// gateway starts a real S3 server with a bucket; options are those of its posix
// backend.
func gateway(t testing.TB, options ...string) site {
	t.Helper()
	bin := findGateway(t)
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "images"), 0o755))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	var log bytes.Buffer
	cmd := exec.Command(bin, append(append([]string{"--port", addr, "--quiet", "posix"}, options...), dir)...)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+testAK, "ROOT_SECRET_KEY="+testSK)
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() && log.Len() > 0 {
			t.Logf("gateway: %.2000s", log.String())
		}
	})
	s := site{endpoint: "http://" + addr, region: testRegion, ak: testAK, sk: testSK, bucket: "images"}
	require.Eventually(t, func() bool {
		resp, err := http.Get(s.endpoint)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	}, 20*time.Second, 20*time.Millisecond)
	return s
}

// TestWrongRegion: the gateway answers HEAD with a bare 400, which says nothing.
func TestWrongRegion(t *testing.T) {
	t.Parallel()
	s := gateway(t)
	key := s.key()
	c := s.client(t, uploader.WithRegion("eu-elsewhere-9"))
	_, err := c.HeadBucket(context.Background(), s.bucket)
	require.ErrorIs(t, err, uploader.ErrWrongRegion)
	u, err := uploader.New(c)
	require.NoError(t, err)
	_, err = u.UploadReaderAt(context.Background(), s.bucket, key, bytes.NewReader(noise(1, 100)), 100)
	require.ErrorIs(t, err, uploader.ErrWrongRegion)
	require.ErrorContains(t, err, testRegion, "the right one")
	var e *uploader.Error
	require.ErrorAs(t, err, &e)
	require.NotEmpty(t, e.RequestID)
	requireClean(t, s, key)
}

// requireClean checks that nothing is left but the objects named. An upload
// without parts may be: a lost answer leaves it, and it may be another host's.
func requireClean(t testing.TB, s site, prefix string, keys ...string) {
	t.Helper()
	c := s.client(t)
	for u, err := range c.Stale(context.Background(), s.bucket, prefix, time.Time{}) {
		require.NoError(t, err)
		if n, err := uploader.CountParts(context.Background(), c, u); err != nil || n > 0 {
			t.Errorf("unfinished upload of %s with %d parts: %s %v", u.Key, n, u.UploadID, err)
		}
	}
	var got []string
	for o, err := range c.Objects(context.Background(), s.bucket, prefix) {
		require.NoError(t, err)
		got = append(got, o.Key)
	}
	require.ElementsMatch(t, keys, got)
}

// download reads an object through OpenObject.
func download(t testing.TB, s site, key string) []byte {
	t.Helper()
	o, err := s.client(t).OpenObject(context.Background(), s.bucket, key)
	require.NoError(t, err)
	defer func() { require.NoError(t, o.Close()) }()
	buf := make([]byte, o.Size())
	if len(buf) == 0 {
		return buf
	}
	n, err := o.ReadAt(buf, 0)
	require.NoError(t, err)
	require.Equal(t, len(buf), n)
	return buf
}

// noise returns n bytes that depend on the seed alone.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}
