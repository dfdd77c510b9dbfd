package quickimport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/uploader"
	"github.com/fastimage/fastimage/zvhd2"
)

// testCloud stands in for the real cloud, where WithRegion and
// WithCredentials(EnvCredentials()) are all that is needed.
func testCloud(opts ...quickimport.Option) (*imstest.Server, *quickimport.Client) {
	srv, err := imstest.New()
	if err != nil {
		log.Fatal(err)
	}
	c, err := quickimport.New(append(srv.Options(), opts...)...)
	if err != nil {
		log.Fatal(err)
	}
	return srv, c
}

// A disk image becomes a private image. The test cloud stands in for the
// real one: there, WithRegion and WithCredentials(EnvCredentials()) are all
// that is needed.
func Example() {
	srv, err := imstest.New()
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	c, err := quickimport.New(srv.Options()...)
	if err != nil {
		log.Fatal(err)
	}
	res, err := c.Import(context.Background(), quickimport.File("../testdata/disk.raw"), quickimport.Image{
		Name: "web-1", OSVersion: "Debian GNU/Linux 12 64bit", Bucket: "images",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.ImageName, res.Key, res.ImageID != "", res.ObjectBytes < res.SourceBytes)
	// Output: web-1 web-1.zvhd2 true true
}

// Every problem of a request is found at once, without asking the cloud.
func ExampleImage_Validate() {
	err := quickimport.Image{Name: "web/1", OSVersion: "CentOS 7.0 64bit", Bucket: "images", Key: "web.zvhd2", MinDisk: 2000}.Validate()
	fmt.Println(err)
	// Output: quickimport: name "web/1": takes letters, digits, '-', '.', '_', spaces and Chinese characters only; min_disk "2000": must be 1 to 1024 GB
}

// What an import would do, and every reason why it would not work: the
// request, the disk and the cloud are checked, nothing is uploaded.
func ExampleClient_Plan() {
	srv, c := testCloud()
	defer srv.Close()
	img := quickimport.Image{Name: "web-1", OSVersion: "Debian GNU/Linux 12 64bit", Bucket: "images"}
	plan, err := c.Plan(context.Background(), quickimport.File("../testdata/disk.raw"), img)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(plan.Source.Format, plan.Source.DiskBytes>>20, "MiB to", plan.Key, "- min disk", plan.MinDisk, "GB")

	img.Bucket, img.Tags = "no-such-bucket", []string{"no dot"}
	_, err = c.Plan(context.Background(), quickimport.File("../testdata/disk.raw"), img)
	var refused *quickimport.ValidationError
	if errors.As(err, &refused) {
		for _, p := range refused.Problems {
			fmt.Println(p.Field, p.Code)
		}
	}
	// Output:
	// raw 64 MiB to web-1.zvhd2 - min disk 10 GB
	// tags IMG.0115
	// tags IMG.0115
	// bucket IMG.0069
}

// Events come one at a time; the type of an event says what happened.
func ExampleWithEvents() {
	srv, c := testCloud()
	defer srv.Close()
	show := func(e quickimport.Event) {
		switch e := e.(type) {
		case quickimport.PhaseFinished:
			fmt.Println(e.Phase, "done")
		case quickimport.Progress:
			if e.Phase == quickimport.PhaseUpload && e.Done == e.Total && e.Sent == e.Object {
				fmt.Printf("%d of %d MiB, %d MiB of zeros not sent\n", e.Done>>20, e.Total>>20, e.Skipped>>20)
			}
		case quickimport.Finished:
			fmt.Println("finished:", e.Err)
		}
	}
	_, err := c.Import(context.Background(), quickimport.File("../testdata/disk.raw"), quickimport.Image{
		Name: "data-1", Type: quickimport.TypeData, Bucket: "images",
	}, quickimport.WithEvents(show))
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// preflight done
	// 64 of 64 MiB, 52 MiB of zeros not sent
	// upload done
	// verify done
	// create done
	// job done
	// finished: <nil>
}

// With a state directory an import survives its process: the same call goes on
// where it was, and one that has ended gives its result again.
func ExampleWithStateDir() {
	dir, err := os.MkdirTemp("", "state")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	srv, c := testCloud(quickimport.WithStateDir(dir))
	defer srv.Close()
	img := quickimport.Image{Name: "web-1", OSVersion: "Debian GNU/Linux 12 64bit", Bucket: "images"}

	ctx, cancel := context.WithCancel(context.Background())
	cancel() // the process is interrupted
	_, err = c.Import(ctx, quickimport.File("../testdata/disk.raw"), img)
	fmt.Println(errors.Is(err, context.Canceled))

	first, err := c.Import(context.Background(), quickimport.File("../testdata/disk.raw"), img)
	if err != nil {
		log.Fatal(err)
	}
	again, err := c.Import(context.Background(), quickimport.File("../testdata/disk.raw"), img)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(first.ImageID == again.ImageID, len(srv.Images()))
	// Output:
	// true
	// true 1
}

// Credentials that expire come from a provider of your own. It is asked again
// near their end.
func ExampleWithCredentials() {
	provider := quickimport.CredentialsFunc(func(ctx context.Context) (quickimport.Credentials, error) {
		// Ask your vault, or the metadata service of the machine.
		return quickimport.Credentials{
			AccessKey: imstest.DefaultAccessKey, SecretKey: imstest.DefaultSecretKey,
			Expires: time.Now().Add(time.Hour),
		}, nil
	})
	srv, c := testCloud(quickimport.WithCredentials(provider))
	defer srv.Close()
	id, err := c.ProjectID(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(id == srv.ProjectID())
	// Output: true
}

// An object that is in the bucket already becomes an image, in two steps: the
// job is followed apart.
func ExampleClient_Create() {
	srv, c := testCloud()
	defer srv.Close()
	ctx := context.Background()
	upload(ctx, srv, "disks/web.zvhd2")
	res, err := c.Create(ctx, quickimport.Image{
		Name: "web-1", OSVersion: "Debian GNU/Linux 12 64bit", Bucket: "images", Key: "disks/web.zvhd2",
	}, quickimport.WithWait(false))
	if err != nil {
		log.Fatal(err)
	}
	job, err := c.WaitJob(ctx, res.JobID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(job.Status, job.Entities.ImageName)
	// Output: SUCCESS web-1
}

// obsClient is a client of the object storage alone.
func obsClient(srv *imstest.Server) *uploader.Client {
	c, err := uploader.NewClient(uploader.WithEndpoint(srv.OBSEndpoint()), uploader.WithRegion(srv.Region()),
		uploader.WithStaticCredentials(srv.AccessKey(), srv.SecretKey(), ""))
	if err != nil {
		log.Fatal(err)
	}
	return c
}

func upload(ctx context.Context, srv *imstest.Server, key string) *uploader.Result {
	src, err := anyimage.Open("../testdata/disk.raw")
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	up, err := uploader.New(obsClient(srv))
	if err != nil {
		log.Fatal(err)
	}
	pr, pw := io.Pipe()
	go func() {
		_, err := zvhd2.Encode(ctx, pw, src, src.Size())
		pw.CloseWithError(err) // nil is the end of the stream
	}()
	res, err := up.UploadStream(ctx, "images", key, pr, zvhd2.MaxSize(src.Size()))
	pr.CloseWithError(err) // an upload that failed ends the encoder too
	if err != nil {
		log.Fatal(err)
	}
	return res
}

// The packages below do the same by hand: a disk is encoded into a multipart
// upload, without a temporary file.
func Example_streamIntoUpload() {
	srv, _ := testCloud()
	defer srv.Close()
	res := upload(context.Background(), srv, "disks/web.zvhd2")
	fmt.Println(res.Key, res.ObjectBytes == srv.Objects("images")[0].Size)
	// Output: disks/web.zvhd2 true
}

// A container in a bucket is read by range requests: its tables, and the blocks
// that are asked for.
func Example_openRemoteContainer() {
	srv, _ := testCloud()
	defer srv.Close()
	ctx := context.Background()
	upload(ctx, srv, "disks/web.zvhd2")
	object, err := obsClient(srv).OpenObject(ctx, "images", "disks/web.zvhd2")
	if err != nil {
		log.Fatal(err)
	}
	defer object.Close()
	zr, err := zvhd2.NewReader(object, object.Size())
	if err != nil {
		log.Fatal(err)
	}
	defer zr.Close()
	signature := make([]byte, 2)
	if _, err := zr.ReadAt(signature, 510); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d MiB, boot signature %x\n", zr.Size()>>20, signature)
	// Output: 64 MiB, boot signature 55aa
}
