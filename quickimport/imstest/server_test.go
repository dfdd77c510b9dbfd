package imstest_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport/imstest"
)

// client is set up as the object store wants it; strict leaves x-id in place when false.
func client(s *imstest.Server, dropXID bool) *s3.Client {
	return s3.New(s3.Options{
		Region: s.Region(), BaseEndpoint: aws.String(s.OBSEndpoint()), UsePathStyle: true,
		Credentials:                credentials.NewStaticCredentialsProvider(s.AccessKey(), s.SecretKey(), s.SecurityToken()),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		RetryMaxAttempts:           1,
		APIOptions: []func(*middleware.Stack) error{func(st *middleware.Stack) error {
			if !dropXID {
				return nil
			}
			return st.Finalize.Insert(middleware.FinalizeMiddlewareFunc("dropXID", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
				if r, ok := in.Request.(*smithyhttp.Request); ok {
					q := r.URL.Query()
					q.Del("x-id")
					r.URL.RawQuery = q.Encode()
				}
				return next.HandleFinalize(ctx, in)
			}), "Signing", middleware.Before)
		}},
	})
}

func code(err error) string {
	var ae smithy.APIError
	if e, ok := err.(interface{ As(any) bool }); ok && e.As(&ae) {
		return ae.ErrorCode()
	}
	for e := err; e != nil; {
		if a, ok := e.(smithy.APIError); ok {
			return a.ErrorCode()
		}
		u, ok := e.(interface{ Unwrap() error })
		if !ok {
			break
		}
		e = u.Unwrap()
	}
	return fmt.Sprint(err)
}

func md5of(b []byte) *string {
	h := md5.Sum(b)
	return aws.String(base64.StdEncoding.EncodeToString(h[:]))
}

func TestObjects(t *testing.T) {
	t.Parallel()
	s := imstest.NewServer(t)
	c, ctx := client(s, true), context.Background()
	b := aws.String(s.Bucket())
	body := []byte("hello, object")
	put, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: b, Key: aws.String("a/b c+ü.raw"), Metadata: map[string]string{"n": " a  b "}, Body: bytes.NewReader(body), ContentMD5: md5of(body)})
	require.NoError(t, err)
	get, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: b, Key: aws.String("a/b c+ü.raw"), Range: aws.String("bytes=7-8")})
	require.NoError(t, err)
	part, err := io.ReadAll(get.Body)
	require.NoError(t, err)
	require.Equal(t, "ob", string(part))
	require.Equal(t, *put.ETag, *get.ETag)
	_, err = c.GetObject(ctx, &s3.GetObjectInput{Bucket: b, Key: aws.String("a/b c+ü.raw"), IfMatch: aws.String(`"x"`)})
	require.Equal(t, "PreconditionFailed", code(err))
	_, err = c.PutObject(ctx, &s3.PutObjectInput{Bucket: b, Key: aws.String("x"), Body: bytes.NewReader(body), ContentMD5: md5of(nil)})
	require.Equal(t, "BadDigest", code(err))
	_, err = c.GetObject(ctx, &s3.GetObjectInput{Bucket: b, Key: aws.String("none")})
	require.Equal(t, "NoSuchKey", code(err))
	_, err = c.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("none"), Key: aws.String("x"), Body: bytes.NewReader(body)})
	require.Equal(t, "NoSuchBucket", code(err))
	_, err = client(s, false).PutObject(ctx, &s3.PutObjectInput{Bucket: b, Key: aws.String("x"), Body: bytes.NewReader(body)})
	require.Equal(t, "NoSuchKey", code(err), "x-id is refused")
	_, err = c.PutObject(ctx, &s3.PutObjectInput{Bucket: b, Key: aws.String("x"), Body: bytes.NewReader(body), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
	require.Equal(t, "XAmzContentSHA256Mismatch", code(err))
	loc, err := c.GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: b})
	require.NoError(t, err)
	require.EqualValues(t, s.Region(), loc.LocationConstraint)
	list, err := c.ListObjects(ctx, &s3.ListObjectsInput{Bucket: b, Prefix: aws.String("a/")})
	require.NoError(t, err)
	require.Len(t, list.Contents, 1)
	_, err = c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: b, Key: aws.String("a/b c+ü.raw")})
	require.NoError(t, err)
	require.Empty(t, s.Objects(s.Bucket()))
}

func TestMultipartSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), context.Background()
	s, err := imstest.New(imstest.WithDir(dir))
	require.NoError(t, err)
	c := client(s, true)
	b, k := aws.String(s.Bucket()), aws.String("big")
	up, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: b, Key: k})
	require.NoError(t, err)
	one := bytes.Repeat([]byte("x"), 5<<20)
	p1, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: b, Key: k, UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(one), ContentMD5: md5of(one)})
	require.NoError(t, err)
	require.NoError(t, s.PutObject(*b, "src", strings.NewReader("0123456789")))
	require.NoError(t, s.Close())

	s = imstest.NewServer(t, imstest.WithDir(dir))
	c = client(s, true)
	require.Len(t, s.UnfinishedUploads(), 1)
	p2, err := c.UploadPartCopy(ctx, &s3.UploadPartCopyInput{Bucket: b, Key: k, UploadId: up.UploadId, PartNumber: aws.Int32(2), CopySource: aws.String(*b + "/src"), CopySourceRange: aws.String("bytes=2-4")})
	require.NoError(t, err)
	parts, err := c.ListParts(ctx, &s3.ListPartsInput{Bucket: b, Key: k, UploadId: up.UploadId, MaxParts: aws.Int32(1)})
	require.NoError(t, err)
	require.True(t, *parts.IsTruncated)
	done := func(ps ...types.CompletedPart) error {
		_, err := c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: b, Key: k, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: ps}})
		return err
	}
	cp := func(n int32, e *string) types.CompletedPart {
		return types.CompletedPart{PartNumber: aws.Int32(n), ETag: e}
	}
	e2 := p2.CopyPartResult.ETag
	require.Equal(t, "InvalidPartOrder", code(done(cp(2, e2), cp(1, p1.ETag))))
	require.Equal(t, "InvalidPart", code(done(cp(1, e2))))
	require.Equal(t, "InvalidPart", code(done(cp(3, e2))))
	require.NoError(t, done(cp(1, p1.ETag), cp(2, e2)))
	require.Equal(t, "NoSuchUpload", code(done(cp(1, p1.ETag), cp(2, e2))))
	got, err := s.ReadObject(*b, *k)
	require.NoError(t, err)
	require.Equal(t, append(one, "234"...), got)
	head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: b, Key: k})
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(*head.ETag, `-2"`))
	require.EqualValues(t, "STANDARD", head.StorageClass)
	up, err = c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: b, Key: k})
	require.NoError(t, err)
	for n := range int32(2) {
		_, err = c.UploadPart(ctx, &s3.UploadPartInput{Bucket: b, Key: k, UploadId: up.UploadId, PartNumber: aws.Int32(n + 1), Body: strings.NewReader("small")})
		require.NoError(t, err)
	}
	e := aws.String(fmt.Sprintf("%x", md5.Sum([]byte("small"))))
	require.Equal(t, "EntityTooSmall", code(done(cp(1, e), cp(2, e))))
	_, err = c.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: b, Key: k, UploadId: up.UploadId})
	require.NoError(t, err)
	require.Empty(t, s.UnfinishedUploads())
}

// raw sends a signed request with a host name of its own.
func raw(t *testing.T, s *imstest.Server, method, host, path string, edit func(*http.Request)) (int, string) {
	t.Helper()
	body := "abc"
	r, err := http.NewRequest(method, s.OBSEndpoint()+path, strings.NewReader(body))
	require.NoError(t, err)
	if host != "" {
		r.Host = host
	}
	r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	sg := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	cr := aws.Credentials{AccessKeyID: s.AccessKey(), SecretAccessKey: s.SecretKey()}
	require.NoError(t, sg.SignHTTP(context.Background(), cr, r, "UNSIGNED-PAYLOAD", "s3", s.Region(), time.Now()))
	if edit != nil {
		edit(r)
	}
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NotEmpty(t, res.Header.Get("X-Amz-Request-Id"))
	return res.StatusCode, string(out)
}

const copySource = "X-Amz-Copy-Source"

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := imstest.NewServer(t)
	for _, c := range []struct {
		name, method, host, path string
		edit                     func(*http.Request)
		status                   int
		code                     string
	}{
		{"path style on a domain", "PUT", "obs.r.example.com", "/images/k", nil, 404, "NoSuchKey"},
		{"get in path style on a domain", "GET", "obs.r.example.com", "/images/k", nil, 403, "VirtualHostDomainRequired"},
		{"virtual host", "PUT", "images.obs.r.example.com", "/k", nil, 200, ""},
		{"loopback name", "PUT", "localhost", "/images/k2", nil, 200, ""},
		{"no signature", "PUT", "", "/images/k", func(r *http.Request) { r.Header.Del("Authorization") }, 403, "AccessDenied"},
		{"wrong signature", "PUT", "", "/images/k", func(r *http.Request) {
			r.Header.Set("Authorization", r.Header.Get("Authorization")[:100]+strings.Repeat("0", 64))
		}, 403, "SignatureDoesNotMatch"},
		{"unsigned header", "PUT", "", "/images/k", func(r *http.Request) { r.Header.Set("X-Amz-Meta-A", "1") }, 403, "SignatureDoesNotMatch"},
		{"changed path", "PUT", "", "/images/k", func(r *http.Request) { r.URL.Path = "/images/l" }, 403, "SignatureDoesNotMatch"},
		{"chunked", "PUT", "", "/images/k", func(r *http.Request) { r.Header.Set("Content-Encoding", "aws-chunked") }, 400, "XAmzContentSHA256Mismatch"},
		{"trailer", "PUT", "", "/images/k", func(r *http.Request) { r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32") }, 400, "XAmzContentSHA256Mismatch"},
		{"bad MD5 header", "PUT", "", "/images/k", func(r *http.Request) { r.Header.Set("Content-MD5", "?") }, 400, "InvalidDigest"},
		{"long key", "PUT", "", "/images/" + strings.Repeat("k", 1025), nil, 400, "KeyTooLongError"},
		{"unknown parameter", "GET", "", "/images/k?torrent", nil, 501, "NotImplemented"},
		{"unknown parameter of a PUT", "PUT", "", "/images/k?acl", nil, 404, "NoSuchKey"},
		{"upload id of a path", "PUT", "", "/images/k?partNumber=1&uploadId=../../buckets", nil, 404, "NoSuchUpload"},
		{"key of a path", "PUT", "", "/images/../../../etc/passwd", nil, 200, ""},
		{"bucket of a path", "GET", "", "/..%2F..", nil, 404, "NoSuchBucket"},
		{"negative marker", "GET", "", "/images/k?uploadId=x&part-number-marker=-1", nil, 400, "InvalidArgument"},
		{"endless page", "GET", "", "/images?max-keys=99999999999999999999", nil, 400, "InvalidArgument"},
		{"list of parts that is no XML", "POST", "", "/images/k?uploadId=x", nil, 400, "MalformedXML"},
		{"delete of a bucket", "DELETE", "", "/images", nil, 405, "MethodNotAllowed"},
		{"copy without a bucket", "PUT", "", "/images/k?partNumber=1&uploadId=x", func(r *http.Request) { r.Header.Set(copySource, "k") }, 403, "SignatureDoesNotMatch"},
		{"part number", "PUT", "", "/images/k?partNumber=10001&uploadId=x", nil, 400, "InvalidArgument"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body := raw(t, s, c.method, c.host, c.path, c.edit)
			require.Equal(t, c.status, status, body)
			require.Contains(t, body, c.code)
		})
	}
}
