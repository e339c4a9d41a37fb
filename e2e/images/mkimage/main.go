// Command mkimage packs a directory into a container image: an OCI layout in a tar archive, with one layer,
// the same bytes for the same files. It prints the image's name with its digest.
package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.root, "root", "", "directory that becomes the image's root")
	flag.StringVar(&o.name, "name", "", "name of the image, as in bed.local/NAME")
	flag.StringVar(&o.out, "out", "", "archive to write")
	flag.StringVar(&o.entrypoint, "entrypoint", "", "program to run, as words separated by blanks")
	flag.StringVar(&o.stopSignal, "stop-signal", "", "signal that ends it, as SIGINT")
	flag.StringVar(&o.path, "path", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PATH inside")
	flag.Parse()
	name, err := pack(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
	fmt.Println(name)
}

type options struct{ root, name, out, entrypoint, stopSignal, path string }

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

func pack(o options) (string, error) {
	if o.root == "" || o.name == "" || o.out == "" {
		return "", fmt.Errorf("-root, -name and -out must be given")
	}
	layerFile, layer, err := layerOf(o.root)
	if err != nil {
		return "", err
	}
	defer os.Remove(layerFile)
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64",
		"os":           "linux",
		"config": map[string]any{
			"Entrypoint": strings.Fields(o.entrypoint),
			"Env":        []string{"PATH=" + o.path},
			"User":       "65532:65532",
			"StopSignal": o.stopSignal,
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{layer.Digest}},
	})
	if err != nil {
		return "", err
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2,
		"mediaType":     "application/vnd.oci.image.manifest.v1+json",
		"config":        describe("application/vnd.oci.image.config.v1+json", config),
		"layers":        []descriptor{layer},
	})
	if err != nil {
		return "", err
	}
	main := describe("application/vnd.oci.image.manifest.v1+json", manifest)
	pinned := fmt.Sprintf("bed.local/%s@%s", o.name, main.Digest)
	named := func(name string) descriptor {
		d := main
		d.Annotations = map[string]string{"io.containerd.image.name": name}
		return d
	}
	index, err := json.Marshal(map[string]any{
		"schemaVersion": 2,
		"manifests":     []descriptor{named(pinned), named(fmt.Sprintf("bed.local/%s:dev", o.name))},
	})
	if err != nil {
		return "", err
	}
	return pinned, writeArchive(o.out, layerFile, layer, map[string][]byte{
		"oci-layout":           []byte(`{"imageLayoutVersion":"1.0.0"}`),
		"index.json":           index,
		blob(digest(manifest)): manifest,
		blob(digest(config)):   config,
	})
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func blob(digest string) string { return "blobs/sha256/" + strings.TrimPrefix(digest, "sha256:") }

func describe(mediaType string, content []byte) descriptor {
	return descriptor{MediaType: mediaType, Digest: digest(content), Size: len(content)}
}

// layerOf writes the directory as a tar whose times and owners say nothing.
func layerOf(root string) (string, descriptor, error) {
	file, err := os.CreateTemp("", "layer")
	if err != nil {
		return "", descriptor{}, err
	}
	defer file.Close()
	hash := sha256.New()
	count := &counter{}
	out := tar.NewWriter(io.MultiWriter(file, hash, count))
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		return add(out, root, path, entry)
	})
	if err != nil {
		return "", descriptor{}, err
	}
	if err := out.Close(); err != nil {
		return "", descriptor{}, err
	}
	return file.Name(), descriptor{
		MediaType: "application/vnd.oci.image.layer.v1.tar",
		Digest:    "sha256:" + hex.EncodeToString(hash.Sum(nil)),
		Size:      count.n,
	}, nil
}

func add(out *tar.Writer, root, path string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = os.Readlink(path); err != nil {
			return err
		}
	}
	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	name, err := filepath.Rel(root, path)
	if err != nil {
		return err
	}
	header.Name = name
	header.Uid, header.Gid, header.Uname, header.Gname = 0, 0, "", ""
	header.ModTime, header.AccessTime, header.ChangeTime = time.Unix(0, 0), time.Time{}, time.Time{}
	header.Format = tar.FormatPAX
	if info.IsDir() {
		header.Name += "/"
	}
	if err := out.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(out, file)
	return err
}

type counter struct{ n int }

func (c *counter) Write(b []byte) (int, error) { c.n += len(b); return len(b), nil }

func writeArchive(path, layerFile string, layer descriptor, files map[string][]byte) error {
	file, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	defer file.Close()
	out := tar.NewWriter(file)
	for name, content := range files {
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			return err
		}
		if _, err := out.Write(content); err != nil {
			return err
		}
	}
	if err := out.WriteHeader(&tar.Header{Name: blob(layer.Digest), Mode: 0o644, Size: int64(layer.Size)}); err != nil {
		return err
	}
	in, err := os.Open(layerFile)
	if err != nil {
		return err
	}
	defer in.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
