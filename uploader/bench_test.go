package uploader_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/uploader"
)

// BenchmarkUpload puts one dense object (256 MiB, 1 GiB in the long form) into
// versitygw, beside s3cmd and rclone where they are installed.
func BenchmarkUpload(b *testing.B) {
	size := 256 * mib
	if long() {
		size = 1 << 30
	}
	s := gateway(b)
	name := filepath.Join(b.TempDir(), "disk")
	require.NoError(b, os.WriteFile(name, noise(1, size), 0o600))
	run := func(tool string, f func(b *testing.B, key string) error) {
		b.Run("tool="+tool, func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				require.NoError(b, f(b, fmt.Sprintf("%s-%d", tool, i)))
			}
		})
	}
	u := s.uploader(b, uploader.WithConcurrency(4))
	run("uploader", func(b *testing.B, key string) error {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		_, err = u.UploadReaderAt(context.Background(), s.bucket, key, f, int64(size))
		return err
	})
	host := strings.TrimPrefix(s.endpoint, "http://")
	external := func(bin string, env []string, args func(key string) []string) {
		if _, err := exec.LookPath(bin); err != nil {
			b.Logf("%s is not installed", bin)
			return
		}
		run(bin, func(b *testing.B, key string) error {
			cmd := exec.Command(bin, args(key)...)
			// With a transport of its own, rclone cannot load AWS_CA_BUNDLE.
			cmd.Env = append(os.Environ(), append(env, "AWS_CA_BUNDLE=")...)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
			}
			return nil
		})
	}
	external("s3cmd", nil, func(key string) []string {
		return []string{"--config=/dev/null", "--no-ssl", "--no-progress", "--host=" + host, "--host-bucket=" + host,
			"--access_key=" + s.ak, "--secret_key=" + s.sk, "--region=" + s.region, "put", name, "s3://" + s.bucket + "/" + key}
	})
	external("rclone", []string{
		"RCLONE_CONFIG_X_TYPE=s3", "RCLONE_CONFIG_X_PROVIDER=Other", "RCLONE_CONFIG_X_ENDPOINT=" + s.endpoint,
		"RCLONE_CONFIG_X_ACCESS_KEY_ID=" + s.ak, "RCLONE_CONFIG_X_SECRET_ACCESS_KEY=" + s.sk, "RCLONE_CONFIG_X_REGION=" + s.region,
	}, func(key string) []string {
		return []string{"--config=", "--s3-upload-concurrency=4", "copyto", name, "x:" + s.bucket + "/" + key}
	})
}

// BenchmarkSparse is a 20 GiB disk with 1 GiB of data (2 GiB with 100 MiB in
// the short form): content on the wire against the data.
func BenchmarkSparse(b *testing.B) {
	data, size := 100*mib, int64(2<<30)
	if long() {
		data, size = 1<<30, 20<<30
	}
	s := gateway(b)
	u := s.uploader(b)
	src := &sparse{data: noise(1, data), at: size / 3, size: size}
	var wire int64
	for b.Loop() {
		res, err := u.UploadReaderAt(context.Background(), s.bucket, "sparse", src, size)
		require.NoError(b, err)
		wire = res.WireBytes
	}
	b.ReportMetric(float64(wire)/float64(data), "wire/data")
}
