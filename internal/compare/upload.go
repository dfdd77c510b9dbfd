package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/fastimage/fastimage/uploader"
)

// endpoint is an object store that runs for a comparison.
type endpoint struct {
	url, ak, sk, bucket, region string
	env                         []string
	stop                        func()
}

// uploads sends a GiB that does not compress.
func (b *bench) uploads() error {
	e, err := b.versitygw()
	if err != nil {
		fmt.Fprintf(os.Stderr, "compare: no versitygw (%v): uploads go to the simulated cloud\n", err)
		if e, err = b.serve(); err != nil {
			return err
		}
	}
	defer e.stop()
	file := b.path("random")
	if err := makeRandom(file, 1<<30); err != nil {
		return err
	}
	defer os.Remove(file)
	defer b.with(e)()
	const key = "object"
	ours := b.fast(fmt.Sprintf("upload -q --abort --concurrency 4 %s obs://%s/%s", file, e.bucket, key), "")
	return b.compare("upload of 1 GiB, 4 parts at once", ours, e.s3cmd(file, key), e.rclone(file, key))
}

// imports makes an image of the disk; users convert and upload first.
func (b *bench) imports() error {
	e, err := b.serve()
	if err != nil {
		return err
	}
	defer e.stop()
	defer b.with(e)()
	q := b.path("import.qcow2")
	ours := b.fast(fmt.Sprintf(`import -q --no-resume --overwrite --os-version Debian --name "$(date +%%s%%N)" --key ours.zvhd2 %s`, b.image), "")
	users := e.s3cmd(q, "theirs")
	users.line = fmt.Sprintf("qemu-img convert -f raw -c -O qcow2 %s %s && %s", b.image, q, users.line)
	if _, err := exec.LookPath("qemu-img"); err != nil {
		return nil
	}
	return b.compare("whole import, with the job; theirs: qemu-img -c, then s3cmd, without the job", ours, users)
}

func (e *endpoint) s3cmd(file, key string) command {
	host := strings.TrimPrefix(e.url, "http://")
	return command{"s3cmd", fmt.Sprintf("s3cmd put --no-progress -q --no-ssl --host=%s --host-bucket=%s --access_key=%s --secret_key=%s --region=%s --multipart-chunk-size-mb=15 %s s3://%s/%s",
		host, host, e.ak, e.sk, e.region, file, e.bucket, key), ""}
}

// rclone would wait a second in each part for a 100 Continue that versitygw does
// not send.
func (e *endpoint) rclone(file, key string) command {
	return command{"rclone", fmt.Sprintf("rclone --config= --s3-no-check-bucket --expect-continue-timeout=0 --s3-upload-concurrency=4 --s3-chunk-size=16Mi copyto %s ':s3,provider=Other,access_key_id=%s,secret_access_key=%s,region=%s,endpoint=\"%s\":%s/%s'",
		file, e.ak, e.sk, e.region, e.url, e.bucket, key), ""}
}

// with gives the commands the endpoint's environment, and takes it back.
func (b *bench) with(e *endpoint) (restore func()) {
	old := b.env
	b.env = append(append([]string{}, old...), e.env...)
	return func() { b.env = old }
}

func (b *bench) versitygw() (*endpoint, error) {
	bin, err := exec.LookPath("versitygw")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	if err := errors.Join(l.Close(), os.MkdirAll(b.path("gateway"), 0o700)); err != nil {
		return nil, err
	}
	e := &endpoint{url: "http://" + addr, ak: "compare", sk: "compare-secret", bucket: "images", region: "us-east-1"}
	e.env = []string{"FASTIMAGE_OBS_ENDPOINT=" + e.url, "HW_REGION_NAME=" + e.region, "HUAWEICLOUD_SDK_AK=" + e.ak, "HUAWEICLOUD_SDK_SK=" + e.sk}
	cmd := exec.Command(bin, "--port", addr, "--access", e.ak, "--secret", e.sk, "--region", e.region, "--quiet", "posix", b.path("gateway"))
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	e.stop = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	// A bucket of the posix backend is a directory.
	if err := os.Mkdir(b.path("gateway/"+e.bucket), 0o700); err != nil {
		e.stop()
		return nil, err
	}
	c, err := uploader.NewClient(uploader.WithEndpoint(e.url), uploader.WithRegion(e.region), uploader.WithStaticCredentials(e.ak, e.sk, ""))
	for range 100 {
		if err == nil {
			if _, err = c.HeadBucket(context.Background(), e.bucket); err == nil {
				return e, nil
			}
		}
		time.Sleep(50 * time.Millisecond)
		err = nil
	}
	e.stop()
	return nil, errors.New("it does not answer")
}

// serve runs the simulated cloud in a process of its own.
func (b *bench) serve() (*endpoint, error) {
	cmd := exec.Command(b.path("fastimage"), "serve", "-q", "--dir", b.path("cloud"))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	e := &endpoint{stop: func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }}
	to := map[string]*string{"FASTIMAGE_OBS_ENDPOINT": &e.url, "HUAWEICLOUD_SDK_AK": &e.ak, "HUAWEICLOUD_SDK_SK": &e.sk, "HW_REGION_NAME": &e.region, "FASTIMAGE_BUCKET": &e.bucket}
	in := bufio.NewScanner(out)
	for e.bucket == "" && in.Scan() {
		name, value, ok := strings.Cut(strings.TrimPrefix(in.Text(), "export "), "=")
		if !ok {
			continue
		}
		e.env = append(e.env, name+"="+value)
		if p := to[name]; p != nil {
			*p = value
		}
	}
	if e.bucket == "" {
		e.stop()
		return nil, errors.New("the simulated cloud did not start")
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return e, nil
}
