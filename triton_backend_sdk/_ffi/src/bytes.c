// BYTES tensors: each element is a 4-byte little-endian length and that many bytes.
#include "shim.h"

const char* tb_bytes_check(const void* data, uint64_t nbytes, uint64_t count)
{
  const char *at = data, *end = at + nbytes;
  uint64_t found = 0;
  for (; at < end; found++) {
    uint32_t length;
    if ((size_t)(end - at) < sizeof length) return "it ends within a length";
    memcpy(&length, at, sizeof length);
    at += sizeof length;
    if ((size_t)(end - at) < length) return "an element is longer than what is left";
    at += length;
  }
  return found == count ? NULL : "the number of elements is not that of the shape";
}

// Writes PyBytes straight into a new NumPy object array.
PyObject* tb_bytes_parse(const tb_view* view, PyObject* shape)
{
  int64_t count = tb_elements(view->shape, view->ndim);
  const char* wrong = tb_bytes_check(view->data, view->nbytes, (uint64_t)count);
  if (wrong != NULL) return tb_raise(tb_py.invalid_arg_error, "BYTES tensor '%s' is malformed: %s", view->name, wrong);
  PyObject* array = PyObject_CallFunctionObjArgs(tb_py.np_empty, shape, tb_py.numpy_dtypes[TRITONSERVER_TYPE_BYTES], NULL);
  if (array == NULL) return NULL;
  Py_buffer buffer;
  if (PyObject_GetBuffer(array, &buffer, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE | PyBUF_FORMAT) != 0) {
    Py_DECREF(array);
    return NULL;
  }
  PyObject** slots = buffer.buf;
  const char *at = view->data, *end = at + view->nbytes;
  for (int64_t i = 0; i < count; i++) {
    uint32_t length = 0;
    bool fits = (size_t)(end - at) >= sizeof length;
    if (fits) memcpy(&length, at, sizeof length);
    fits = fits && (size_t)(end - at) - sizeof length >= length;  // once more: the client can write to shared memory
    PyObject* element = fits ? PyBytes_FromStringAndSize(at + sizeof length, length)
      : tb_raise(tb_py.invalid_arg_error, "BYTES tensor '%s' changed while it was read", view->name);
    if (element == NULL) {
      Py_CLEAR(array);
      break;
    }
    Py_XSETREF(slots[i], element);
    at += sizeof length + length;
  }
  PyBuffer_Release(&buffer);
  return array;
}

static bool element_bytes(PyObject* element, const char** data, Py_ssize_t* length)
{
  if (element != NULL && PyBytes_Check(element)) {
    *data = PyBytes_AS_STRING(element);
    *length = PyBytes_GET_SIZE(element);
    return true;
  }
  if (element != NULL && PyUnicode_Check(element)) {
    *data = PyUnicode_AsUTF8AndSize(element, length);  // cached in the str, so the second pass is free
    return *data != NULL;
  }
  *data = NULL;
  return false;
}

static bool is_text(PyObject* element) { return element != NULL && (PyBytes_Check(element) || PyUnicode_Check(element)); }

bool tb_bytes_texts(tb_source* source)
{
  int64_t count = tb_elements(source->shape, source->ndim), texts = 0;
  PyObject* const* elements = (PyObject* const*)source->data;
  while (texts < count && is_text(elements[texts])) texts++;
  if (texts == count) return true;
  PyObject* list = PyList_New(count);
  for (int64_t i = 0; list != NULL && i < count; i++) {
    PyObject* element = Py_NewRef(elements[i] != NULL ? elements[i] : Py_None);  // its __str__ may change the array
    PyObject* text = is_text(element) ? Py_NewRef(element) : PyObject_Str(element);
    Py_DECREF(element);
    if (text == NULL) Py_CLEAR(list);
    else PyList_SET_ITEM(list, i, text);
  }
  if (list == NULL) return false;
  source->data = (const char*)((PyListObject*)list)->ob_item;
  Py_XSETREF(source->holder, list);
  return true;
}

bool tb_bytes_size(const tb_source* source, const char* name, uint64_t* size)
{
  int64_t count = tb_elements(source->shape, source->ndim);
  PyObject* const* elements = (PyObject* const*)source->data;
  *size = 0;
  for (int64_t i = 0; i < count; i++) {
    const char* data;
    Py_ssize_t length;
    if (!element_bytes(elements[i], &data, &length)) {
      if (!PyErr_Occurred())
        tb_raise(tb_py.internal_error, "BYTES output '%s': element %lld is %s; give bytes or str", name, (long long)i,
          elements[i] ? Py_TYPE(elements[i])->tp_name : "missing");
      return false;
    }
    if (length > UINT32_MAX) {
      tb_raise(tb_py.internal_error, "BYTES output '%s': element %lld has more than 4 GiB", name, (long long)i);
      return false;
    }
    *size += sizeof(uint32_t) + (uint64_t)length;
  }
  return true;
}

bool tb_bytes_write(const tb_source* source, char* target, uint64_t size)
{
  int64_t count = tb_elements(source->shape, source->ndim);
  PyObject* const* elements = (PyObject* const*)source->data;
  for (int64_t i = 0; i < count; i++) {
    const char* data;
    Py_ssize_t length;
    if (!element_bytes(elements[i], &data, &length) || (uint64_t)length + sizeof(uint32_t) > size) {
      if (!PyErr_Occurred()) PyErr_SetString(PyExc_RuntimeError, "the array changed while it was written");
      return false;
    }
    uint32_t prefix = (uint32_t)length;
    memcpy(target, &prefix, sizeof prefix);
    memcpy(target + sizeof prefix, data, (size_t)length);
    target += sizeof prefix + length;
    size -= sizeof prefix + (uint64_t)length;
  }
  if (size == 0) return true;
  PyErr_SetString(PyExc_RuntimeError, "the array changed while it was written");
  return false;
}
