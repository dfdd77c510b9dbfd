package uploader_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/fastimage/fastimage/uploader"
)

const benchConcurrency = 4

// BenchmarkUpload puts one dense object (256 MiB, 1 GiB in the long form) into
// versitygw: by the uploader, by s3cmd and rclone where they are installed, by a
// loop that only sends, and by one that also hashes each part for Content-MD5,
// the limit of what is asked of us: both ends hash then, and here they share the
// processors. They take turns in each iteration, so that a busy machine slows
// all of them; x/TOOL is how many times as long as the uploader the tool takes.
func BenchmarkUpload(b *testing.B) {
	size := 256 * mib
	if long() {
		size = 1 << 30
	}
	s := gateway(b)
	name := filepath.Join(b.TempDir(), "disk")
	require.NoError(b, os.WriteFile(name, noise(1, size), 0o600))
	ways := []struct {
		name string
		run  func(key string) error
	}{
		{"uploader", benchOurs(b, s, name)},
		{"send", benchLimit(s, name, false)},
		{"send+md5", benchLimit(s, name, true)},
		{"s3cmd", s3cmd(s, name)},
		{"rclone", rclone(s, name)},
	}
	b.SetBytes(int64(size))
	spent := map[string]time.Duration{}
	for b.Loop() {
		for _, w := range ways {
			if w.run == nil {
				continue
			}
			began := time.Now()
			require.NoError(b, w.run("object"), w.name)
			spent[w.name] += time.Since(began)
			require.NoError(b, s.client(b).DeleteObject(context.Background(), s.bucket, "object"))
		}
	}
	for name, d := range spent {
		b.ReportMetric(float64(size)*float64(b.N)/d.Seconds()/1e6, "MB/s-"+name)
		b.ReportMetric(d.Seconds()/spent["uploader"].Seconds(), "x/"+name)
	}
}

func benchOurs(b *testing.B, s site, name string) func(string) error {
	u := s.uploader(b, uploader.WithConcurrency(benchConcurrency))
	return func(key string) error {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		st, err := f.Stat()
		if err != nil {
			return err
		}
		_, err = u.UploadReaderAt(context.Background(), s.bucket, key, f, st.Size())
		return err
	}
}

// benchLimit sends the parts, with Content-MD5 or without, and does nothing
// else: no comparison, no retries, no state.
func benchLimit(s site, name string, digest bool) func(string) error {
	c := s3.New(s3.Options{
		BaseEndpoint: &s.endpoint, Region: s.region, UsePathStyle: true,
		Credentials:                credentials.NewStaticCredentialsProvider(s.ak, s.sk, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
	}, s3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware))
	return func(key string) error { return sendOnly(c, s.bucket, key, name, digest) }
}

func sendOnly(c *s3.Client, bucket, key, name string, digest bool) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	ctx := context.Background()
	up, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	ps := uploader.PartSizeFor(st.Size())
	parts := make([]types.CompletedPart, (st.Size()+ps-1)/ps)
	var g errgroup.Group
	g.SetLimit(benchConcurrency)
	for i := range parts {
		g.Go(func() error {
			off := int64(i) * ps
			in := &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, PartNumber: aws.Int32(int32(i + 1))}
			in.Body = io.NewSectionReader(f, off, min(ps, st.Size()-off))
			if digest {
				body := make([]byte, min(ps, st.Size()-off))
				if _, err := f.ReadAt(body, off); err != nil {
					return err
				}
				sum := md5.Sum(body)
				in.Body, in.ContentMD5 = bytes.NewReader(body), aws.String(base64.StdEncoding.EncodeToString(sum[:]))
			}
			out, err := c.UploadPart(ctx, in)
			if err == nil {
				parts[i] = types.CompletedPart{PartNumber: in.PartNumber, ETag: out.ETag}
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	_, err = c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return err
}

func s3cmd(s site, name string) func(string) error {
	host := strings.TrimPrefix(s.endpoint, "http://")
	return external("s3cmd", nil, "--config=/dev/null", "--no-ssl", "--no-progress", "--host="+host, "--host-bucket="+host,
		"--access_key="+s.ak, "--secret_key="+s.sk, "--region="+s.region, "put", name, "s3://"+s.bucket+"/")
}

// rclone gets our concurrency and part size. It would make the bucket first,
// which versitygw answers with 500 for a directory that it did not make itself,
// and would wait a second in each part for a 100 Continue that does not come.
func rclone(s site, name string) func(string) error {
	return external("rclone", []string{
		"RCLONE_CONFIG_X_TYPE=s3", "RCLONE_CONFIG_X_PROVIDER=Other", "RCLONE_CONFIG_X_ENDPOINT=" + s.endpoint,
		"RCLONE_CONFIG_X_ACCESS_KEY_ID=" + s.ak, "RCLONE_CONFIG_X_SECRET_ACCESS_KEY=" + s.sk, "RCLONE_CONFIG_X_REGION=" + s.region,
	}, "--config=", "--s3-no-check-bucket", "--expect-continue-timeout=0", fmt.Sprintf("--s3-upload-concurrency=%d", benchConcurrency), "--s3-chunk-size=5Mi",
		"copyto", name, "x:"+s.bucket+"/")
}

// external runs a tool; the key is appended to its last argument.
func external(bin string, env []string, args ...string) func(string) error {
	if _, err := exec.LookPath(bin); err != nil {
		return nil
	}
	return func(key string) error {
		args := append([]string{}, args...)
		args[len(args)-1] += key
		cmd := exec.Command(bin, args...)
		// With a transport of its own, rclone cannot load AWS_CA_BUNDLE.
		cmd.Env = append(os.Environ(), append(env, "AWS_CA_BUNDLE=")...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
		}
		return nil
	}
}

// BenchmarkSparse is a 20 GiB disk with 1 GiB of data (2 GiB with 100 MiB in
// the short form): content on the wire against the data.
func BenchmarkSparse(b *testing.B) {
	data, size := 100*mib, int64(2<<30)
	if long() {
		data, size = 1<<30, 20<<30
	}
	// The list of some thousand parts is more than ext4 takes in an attribute.
	s := gateway(b, "--sidecar", b.TempDir())
	u := s.uploader(b)
	src := &sparse{data: noise(1, data), at: size / 3, size: size}
	var wire int64
	for b.Loop() {
		res, err := u.UploadReaderAt(context.Background(), s.bucket, "sparse", src, size)
		require.NoError(b, err)
		require.Equal(b, size, res.ObjectBytes)
		wire = res.WireBytes
	}
	b.ReportMetric(float64(wire)/float64(data), "wire/data")
}
