// The server answers this path itself, with the prefix it was configured with.
export default {
    path_prefix: "",
}
