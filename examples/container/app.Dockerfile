# Your own application on this image: docker build -t yourapp -f app.Dockerfile .
FROM oss-wsgi
# What your application needs beside oss_wsgi: USER root, RUN pip --python /opt/oss-wsgi/bin/python install ..., and then
# USER 10001:10001 again.
COPY yourapp.py /app/
WORKDIR /app
CMD ["serve", "--app", "yourapp:application", "--listen", "0.0.0.0:8080"]
